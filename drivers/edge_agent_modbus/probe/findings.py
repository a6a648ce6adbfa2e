"""What a probe has found, and what is said of it: tables, sentences, JSON, sections of a configuration. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent.probing import ProbeReport, ProbeTable
from edge_agent_modbus.identification import Identification
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS, Table
from edge_agent_modbus.probe.known import Known
from edge_agent_modbus.probe.layout import Layout, point
from edge_agent_modbus.probe.match import Fit
from edge_agent_modbus.probe.order import Order, SerialSetting
from edge_agent_modbus.probe.ranges import Found, Span

_DIGITS = {Table.COIL: 0, Table.DISCRETE: 1, Table.HOLDING: 4, Table.INPUT: 3}
_MOST_FITS = 5  # of one value that are shown
_BASICS = ("vendor_name", "product_code", "revision")
_EASY = 9999  # a data-model number of five digits ends here


@dataclass(slots=True)
class TableFindings:
    """One table of a unit; the note says why the search ended early."""

    found: Found = field(default_factory=Found)
    note: str = ""


@dataclass(slots=True)
class UnitFindings:
    """One unit that answers.

    Attributes:
        sign: the table and address of the first question.
        first_answer: to it.
        same: units that answer as this one does, because the device does not look at the number.
        is_gone: whether it stopped answering; what is here was found until then.
        fits: of each known value.
    """

    unit: int
    setting: SerialSetting | None
    sign: tuple[Table, int]
    first_answer: object
    identification: Identification | None = None
    same: tuple[int, ...] = ()
    tables: dict[Table, TableFindings] = field(default_factory=dict)
    is_gone: bool = False
    fits: tuple[tuple[Fit, ...], ...] = ()
    layouts: tuple[Layout, ...] = ()

    @property
    def explains_all(self) -> bool:
        """Whether one layout gives every value that is known, and is more than chance."""
        return bool(self.layouts) and None not in self.layouts[0].fits and self.layouts[0].is_likely

    @property
    def max_registers(self) -> int | None:
        """The most registers that it gives at once, if that is less than the standard has."""
        return _limit(self.tables, MAX_REGISTERS, (Table.HOLDING, Table.INPUT))

    @property
    def max_coils(self) -> int | None:
        """As ``max_registers``, for coils and discrete inputs."""
        return _limit(self.tables, MAX_COILS, (Table.COIL, Table.DISCRETE))


@dataclass(slots=True)
class Findings:
    """All of a probe.

    Attributes:
        through: devices of the running agent whose line was used; None: it was a wire of the probe's own.
        reach: what of a device's section says how the target is reached.
        asked: units that were asked.
    """

    order: Order
    reach: Mapping[str, object]
    through: tuple[str, ...] | None = None
    asked: int = 0
    requests: int = 0
    units: list[UnitFindings] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report(findings: Findings) -> ProbeReport:
    """Return what is said of ``findings``."""
    known = findings.order.known
    fitting = [unit for unit in findings.units if unit.explains_all]
    tables = [_units(findings.units)]
    if findings.order.ranges != "none":
        tables.append(_ranges(findings.units))
    for unit in findings.units:
        tables += _known_tables(known, unit, is_alone=len(findings.units) == 1)
    return ProbeReport(
        tuple(table for table in tables if table.rows),
        tuple(_notes(findings, fitting)),
        _body(findings),
        tuple(_device(findings, unit) for unit in fitting),
        bool(findings.units) and (bool(fitting) or not known),
    )


def numbers(table: Table, first: int, last: int) -> str:
    """Return data-model numbers: ``40001–40100``."""
    width = 4 if last + 1 <= _EASY else 5
    digit = _DIGITS[table]
    ends = [f"{digit}{address + 1:0{width}}" for address in (first, last)]
    return ends[0] if first == last else "–".join(ends)


def _limit(tables: Mapping[Table, TableFindings], standard: int, of: Sequence[Table]) -> int | None:
    sizes = [tables[table].found.refused_size for table in of if table in tables]
    least = min((size for size in sizes if size is not None), default=standard + 1)
    return least - 1 if least <= standard else None


def _units(units: Sequence[UnitFindings]) -> ProbeTable:
    has_settings = any(unit.setting for unit in units)
    rows = []
    for unit in units:
        texts = unit.identification.texts() if unit.identification else {}
        further = ", ".join(f"{name}: {text}" for name, text in texts.items() if name not in _BASICS)
        further = further or ("" if texts else _unidentified(unit.identification))
        setting = [str(unit.setting)] if has_settings else []
        rows.append((unit.unit, *setting, *(texts.get(name) for name in _BASICS), further))
    settings = ["line"] if has_settings else []
    return ProbeTable(
        "units that answer", ("unit", *settings, "vendor", "product", "revision", "more"), tuple(rows)
    )


def _unidentified(identification: Identification | None) -> str:
    if identification is None:
        return "does not say who it is: no answer"
    code = identification.exception
    return "does not say who it is" + (f": exception {code}" if code is not None else "")


def _ranges(units: Sequence[UnitFindings]) -> ProbeTable:
    rows = [
        (unit.unit, table.word, _addresses(run), numbers(table, run.address, run.end - 1), run.count, not_zero)
        for unit in units
        for table, findings in unit.tables.items()
        for run, not_zero in _runs(findings.found)
    ]
    return ProbeTable(
        "what can be read",
        ("unit", "table", "addresses (0-based)", "numbers (register:)", "count", "not zero"),
        tuple(rows),
    )


def _runs(found: Found) -> Iterator[tuple[Span, int]]:
    for run in found.runs:
        yield run, sum(found.words[address] != 0 for address in range(run.address, run.end))


def _addresses(run: Span) -> str:
    return str(run.address) if run.count == 1 else f"{run.address}–{run.end - 1}"


def _known_tables(known: Sequence[Known], unit: UnitFindings, *, is_alone: bool) -> Iterator[ProbeTable]:
    if not unit.layouts:
        return
    of_unit = "" if is_alone else f"unit {unit.unit}: "
    best = unit.layouts[0]
    yield ProbeTable(
        f"{of_unit}{best}",
        ("known", "value", "reads", *_FIT_HEADER),
        tuple(
            (one.written, _value(one.value), *(_fit_row(fit) if fit else ("nothing fits",)))
            for one, fit in zip(known, best.fits, strict=True)
        ),
    )
    chosen = set(best.fits)
    others = [
        (one.written, *_fit_row(fit))
        for one, fits in zip(known, unit.fits, strict=True)
        for fit in [fit for fit in fits if fit not in chosen][:_MOST_FITS]
    ]
    yield ProbeTable(f"{of_unit}less likely, but it fits", ("known", "reads", *_FIT_HEADER), tuple(others))


_FIT_HEADER = ("at", "type", "order", "scale")


def _fit_row(fit: Fit) -> tuple[object, ...]:
    source = fit.source
    kind = source.value_type.word
    if source.table.has_bits:
        kind = ""
    elif kind == "bool":
        kind = f"bit {source.bit}"
    elif kind == "string":
        kind = f"string of {source.length_bytes}"
    elif kind in {"int8", "uint8"}:
        kind += " high" if source.high_byte else " low"
    order = source.byte_order.value if source.size > 1 or source.byte_order.value != "ABCD" else ""
    place = f"{source.table.word} {source.address}"
    return _value(fit.reading), place, kind, order, f"{source.scale:g}" if source.scale != 1 else ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _notes(findings: Findings, fitting: Sequence[UnitFindings]) -> Iterator[str]:
    if findings.through is not None:
        yield (
            f"asked through the running agent, which holds the line for {', '.join(findings.through)}; "
            "it went on collecting"
        )
    yield from findings.notes
    for unit in findings.units:
        if unit.is_gone:
            yield f"unit {unit.unit} does not answer any more: what is shown was found until then"
        if unit.same:
            yield (
                f"all {len(unit.same) + 1} unit numbers that were asked give the same answers as {unit.unit}: "
                "the device does not look at the number"
            )
        for table, found in unit.tables.items():
            if found.note:
                yield f"unit {unit.unit}, {table.word}: {found.note}"
        for key, most in (("max_registers", unit.max_registers), ("max_coils", unit.max_coils)):
            if most is not None:
                yield f"unit {unit.unit} gives at most {most} at once: {key}: {most}"
    yield from _known_notes(findings, fitting)


def _known_notes(findings: Findings, fitting: Sequence[UnitFindings]) -> Iterator[str]:
    known = findings.order.known
    if not known or not findings.units:
        return
    for unit in fitting:
        what = "the known value fits" if len(known) == 1 else f"all {len(known)} known values fit"
        yield f"unit {unit.unit}: {what}: {unit.layouts[0]}"
        if len(unit.layouts) > 1 and unit.layouts[1].explained == len(known) and len(known) == 1:
            yield "one value is little to go by: give more with --know, best some that use several registers"
    if not fitting:
        best = [unit.layouts[0] for unit in findings.units if unit.layouts and unit.layouts[0].is_likely]
        most = max((layout.explained for layout in best), default=0)
        yield (
            f"{most} of {len(known)} known values fit one order of bytes and one way of counting; check the "
            "numbers, that the values did not move meanwhile (--tolerance 5%), and --units"
        )
        texts = [one for one in known if isinstance(one.value, str) and one.value[:1].isdigit() and not one.time]
        for one in texts:
            yield f"{one.value!r} of {one.written} was taken as a text: write a number without its unit"
        if any(unit.layouts and not unit.layouts[0].is_likely for unit in findings.units):
            yield "what is shown as fitting is so unusual that it may be chance"


def _device(findings: Findings, unit: UnitFindings) -> dict[str, object]:
    limits = {"max_registers": unit.max_registers, "max_coils": unit.max_coils}
    points: dict[str, dict[str, object]] = {}
    for one, fit in zip(findings.order.known, unit.layouts[0].fits, strict=True):
        if fit is not None:
            keys = point(one, fit)
            points.setdefault(str(keys["name"]), keys)
    return {
        "driver": "modbus",
        **findings.reach,
        "unit": unit.unit,
        **{key: most for key, most in limits.items() if most is not None},
        "points": list(points.values()),
    }


def _body(findings: Findings) -> dict[str, object]:
    known = findings.order.known
    return {
        "target": findings.order.target,
        "through_agent": None if findings.through is None else list(findings.through),
        "reach": dict(findings.reach),
        "units_asked": findings.asked,
        "requests": findings.requests,
        "notes": findings.notes,
        "units": [
            {
                "unit": unit.unit,
                "same": list(unit.same),
                "is_gone": unit.is_gone,
                "baud_rate": unit.setting.baud_rate if unit.setting else None,
                "parity": unit.setting.parity if unit.setting else None,
                "identification": unit.identification.texts() if unit.identification else {},
                "max_registers": unit.max_registers,
                "max_coils": unit.max_coils,
                "ranges": [
                    {"table": table.word, "first": run.address, "last": run.end - 1, "not_zero": not_zero}
                    for table, tables in unit.tables.items()
                    for run, not_zero in _runs(tables.found)
                ],
                "layouts": [
                    {
                        "byte_order": layout.order.value,
                        "placing": layout.placing.name.lower(),
                        "explained": layout.explained,
                        "is_likely": layout.is_likely,
                        "points": [
                            None if fit is None else point(one, fit) | {"reading": fit.reading}
                            for one, fit in zip(known, layout.fits, strict=True)
                        ],
                    }
                    for layout in unit.layouts
                ],
            }
            for unit in findings.units
        ],
    }
