"""A probe, from the first unit to the report."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from edge_agent.errors import DeviceUnavailableError, ExchangeError, ProbeError
from edge_agent.probing import HeldLine, ProbeReport, Probing
from edge_agent_modbus.identification import Category, Identification, identify
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS, Table
from edge_agent_modbus.probe.findings import Findings, TableFindings, UnitFindings, report
from edge_agent_modbus.probe.inquiry import GONE, ILLEGAL_FUNCTION, Inquiry, Nothing, Refusal
from edge_agent_modbus.probe.layout import layouts
from edge_agent_modbus.probe.match import fits, whole_values, windows
from edge_agent_modbus.probe.order import Order, SerialSetting, parse_order, serial_steps
from edge_agent_modbus.probe.ranges import Found, find_ranges, samples
from edge_agent_modbus.probe.way import Straight, ThroughAgent, held_line, refuse_company

TABLES = (Table.HOLDING, Table.INPUT, Table.COIL, Table.DISCRETE)
_UNITS_PART, _KNOWN_PART = 0.2, 0.1  # of the progress bar; the ranges take the rest
_LEAST_ALIKE = 5  # so many units with the same answers are one device that does not look at the number
_SAME_TRIES = 3
_IDENTIFICATION_TRIES = 2
_MOST_SILENT = 8  # requests to a table that has given nothing
_MOST_SILENT_BESIDE_DATA = 24  # to one that has: each end of a run takes some seven


async def run(target: str, written: Mapping[str, Sequence[str]], probing: Probing) -> ProbeReport:
    """Probe; as ``ProberSpec`` says.

    Raises:
        ProbeError: it cannot be done as written.
        DeviceUnavailableError: the target cannot be reached, or was lost.
    """
    order = parse_order(target, written)
    held = await held_line(order, probing.lines)
    if held is not None and order.has_chosen_settings:
        raise ProbeError(
            f"{target} is held by the running agent for {', '.join(held.devices)}, with settings of its own: "
            "leave --baud-rates and --parities out, or stop the agent"
        )
    if held is None and not probing.is_second_client:
        await refuse_company(order)
    probe = _Probe(order, probing, held)
    try:
        return report(await probe.run())
    finally:
        probe.inquiry.way.close()


class _Probe:
    def __init__(self, order: Order, probing: Probing, held: HeldLine | None) -> None:
        self._order = order
        self._tell = probing.tell
        way = Straight(order, _first(order.settings)) if held is None else ThroughAgent(order, held)
        self.inquiry = Inquiry(way, probing.clock)
        self._findings = Findings(
            order,
            order.wire_keys(_first(order.settings)) if held is None else held.reach,
            None if held is None else held.devices,
        )

    async def run(self) -> Findings:
        findings = self._findings
        found = await self._find_units()
        for unit in found:
            self._tell(f"unit {unit.unit}: identification", _UNITS_PART)
            unit.identification = await self._identify(unit)
        findings.units = await self._joined(found)
        for done, unit in enumerate(findings.units):
            part = _KNOWN_PART / len(findings.units)
            await self._match(unit, _UNITS_PART + part * done)
        if self._order.ranges != "none":
            for done, unit in enumerate(findings.units):
                await self._search(unit, done)
        self._tell("done", 1.0)
        findings.requests = self.inquiry.requests
        return findings

    async def _find_units(self) -> list[UnitFindings]:
        if self.inquiry.way.through is None and self._order.serial_port:
            return await self._find_on_serial_line()
        units, count = self._order.units, len(self._order.units)
        found = await self._ask_units(units, 0, 2 * count)
        if not found:  # a unit may be silent where it has nothing to give
            found = await self._ask_units(units, count, 2 * count, Table.INPUT)
        if not found:
            setting = self.inquiry.way.setting
            advice = "--transport rtu_over_tcp" if setting is None else "check its power and wiring"
            self._findings.notes.append(
                f"{self._order.target}: no unit of {_listed(units)} answered within "
                f"{self._order.wait_s(setting):.2g} s; try --units 1..247, a longer --timeout, or {advice}"
            )
        return found

    async def _find_on_serial_line(self) -> list[UnitFindings]:
        steps = list(serial_steps(self._order))
        total, done = sum(len(units) for _, units in steps), 0
        for setting, units in steps:
            self.inquiry.way.close()
            self.inquiry.way = Straight(self._order, setting)
            found = await self._ask_units(units, done, total)
            done += len(units)
            if found:
                self._findings.reach = self._order.wire_keys(setting)
                others = tuple(unit for unit in self._order.units if unit not in units)
                found += await self._ask_units(others, total - len(others), total)
                return sorted(found, key=lambda unit: unit.unit)
        self._findings.asked = len(self._order.units)
        self._findings.notes.append(
            f"no unit of {_listed(self._order.units)} answered at any of {len(self._order.settings)} settings; "
            "check that A and B are not swapped, termination and power, and try --units or a longer --timeout"
        )
        return []

    async def _ask_units(
        self, units: Sequence[int], done: int, total: int, table: Table = Table.HOLDING
    ) -> list[UnitFindings]:
        found = []
        known = self._order.known[:1]
        for position, unit in enumerate(units):
            at = "" if self.inquiry.way.setting is None else f" at {self.inquiry.way.setting}"
            self._tell(f"looking for unit {unit}{at}", _UNITS_PART * (done + position) / total)
            place = (known[0].table, known[0].address) if known and table is Table.HOLDING else (table, 0)
            await self.inquiry.way.open()  # raises at once if it cannot be had
            answer = await self.inquiry.read(unit, *place, 1)
            if not isinstance(answer, Nothing):
                found.append(UnitFindings(unit, self.inquiry.way.setting, place, answer))
        self._findings.asked = len(self._order.units)
        return found

    async def _identify(self, unit: UnitFindings) -> Identification | None:
        """Return what a unit says of itself; one that says nothing is asked twice.

        Some take the frame of a function that they do not know for noise, and with it the frame that follows.
        """
        exchange = partial(self.inquiry.exchange, unit.unit)
        for _ in range(_IDENTIFICATION_TRIES):
            try:
                said = await identify(exchange)
                if said.exception not in {None, ILLEGAL_FUNCTION} and not said.objects:
                    said = await identify(exchange, Category.BASIC)
            except ExchangeError:
                continue
            except DeviceUnavailableError:
                break
            return said
        return None

    async def _joined(self, found: list[UnitFindings]) -> list[UnitFindings]:
        """Return the units; if the device does not look at the number, one for all.

        Then every number that is asked answers, with the same identification and the same value.
        """
        first = next((unit for unit in found if unit.unit == 1), None) or next(iter(found), None)
        if first is None or len(found) < max(_LEAST_ALIKE, self._findings.asked):
            return found
        others = [unit for unit in found if unit is not first]
        if any(unit.identification != first.identification for unit in others):
            return found
        for unit in others:
            if unit.first_answer != first.first_answer and not await self._is_same(first, unit):
                return found
        first.same = tuple(unit.unit for unit in others)
        return [first]

    async def _is_same(self, one: UnitFindings, other: UnitFindings) -> bool:
        """Return whether a value that moves is the same one: it lies between two looks at the first unit's."""
        for _ in range(_SAME_TRIES):
            before, between, after = [
                await self.inquiry.read(unit.unit, *unit.sign, 1) for unit in (one, other, one)
            ]
            if isinstance(before, tuple) and isinstance(between, tuple) and isinstance(after, tuple):
                if min(before, after) <= between <= max(before, after):
                    return True
            elif before == between:
                return True
        return False

    async def _match(self, unit: UnitFindings, done: float) -> None:
        words: dict[tuple[Table, int], int] = {}
        wanted = [(table, *span) for table, spans in windows(self._order.known).items() for span in spans]
        for table, first, end in wanted:
            self._tell(f"unit {unit.unit}: {table.word} {first} to {end - 1}", done)
            found = TableFindings()
            await self._find(unit, table, (first, end - 1), found, lambda _: None, is_thorough=True)
            words |= {(table, address): word for address, word in found.found.words.items()}
        for known in self._order.known:
            for table, first, count in whole_values(known, words):
                got = await self.inquiry.read(unit.unit, table, first, count)
                if isinstance(got, tuple):
                    words |= {(table, first + at): word for at, word in enumerate(got)}
        unit.fits = tuple(fits(known, words, self._order.tolerance) for known in self._order.known)
        unit.layouts = layouts(unit.fits)

    async def _search(self, unit: UnitFindings, done: int) -> None:
        first, last = self._order.first, self._order.last
        part = (1 - _UNITS_PART - _KNOWN_PART) / len(self._findings.units) / len(TABLES)
        for position, table in enumerate(TABLES):
            begin = _UNITS_PART + _KNOWN_PART + part * (len(TABLES) * done + position)
            unit.tables[table] = TableFindings()

            def show(found: Found, begin: float = begin, table: Table = table) -> None:
                share = (found.position - first) / (last + 1 - first)
                read = f", {len(found.words)} can be read" if found.words else ""
                self._tell(f"unit {unit.unit}: {table.word} {found.position}{read}", begin + part * share)

            await self._find(
                unit,
                table,
                (first, last),
                unit.tables[table],
                show,
                is_thorough=self._order.ranges == "thorough",
            )

    async def _find(
        self,
        unit: UnitFindings,
        table: Table,
        ends: tuple[int, int],
        into: TableFindings,
        show: Callable[[Found], None],
        *,
        is_thorough: bool,
    ) -> None:
        """Search one table; the note says why the search ended before its end, if the unit is not gone."""
        hints = [known.address for known in self._order.known if known.table.has_bits == table.has_bits]
        places = samples(*ends, hints, is_thorough=is_thorough)
        limit = MAX_COILS if table.has_bits else MAX_REGISTERS
        search = find_ranges(into.found, *ends, limit, places)
        silent, answer = 0, None
        try:
            span = next(search)
            while not unit.is_gone:
                show(into.found)
                got = await self.inquiry.read_surely(unit.unit, table, span.address, span.count, unit.sign)
                if isinstance(got, Refusal) and got.code == ILLEGAL_FUNCTION and not into.found.words:
                    into.note = "the function is not supported (exception 1)"
                    return
                unit.is_gone = got is GONE
                if isinstance(got, Nothing):
                    silent += 1
                    if silent >= (_MOST_SILENT_BESIDE_DATA if into.found.words else _MOST_SILENT):
                        into.note = f"no further than {into.found.position}: {got.reason}, {silent} times"
                        return
                answer = got if isinstance(got, tuple) else None
                span = search.send(answer)
        except StopIteration:
            return


def _listed(units: Sequence[int]) -> str:
    return f"{min(units)}..{max(units)}" if len(units) > 1 else str(units[0])


def _first(settings: Sequence[SerialSetting]) -> SerialSetting | None:
    return settings[0] if settings else None
