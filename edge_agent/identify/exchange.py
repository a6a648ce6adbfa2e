"""Codes leave the box for a node operator's desk and come back with its reply; or move to a new box."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import IdentifierError
from edge_agent.identify import lockfile
from edge_agent.identify.assign import Assignments, utc
from edge_agent.identify.codec import Code, Fault, is_placeholder, parse
from edge_agent.identify.lock import Entry, Lock, Status, handle_owners, merge
from edge_agent.identify.options import IdentifierOptions
from edge_agent.identify.plan import GATEWAY, Plan, draw, refuse_foreign, refuse_taken
from edge_agent.identify.statements import COLUMNS, LineProblem, Statement, read_statements
from edge_agent.model import check_id

SCHEMA = "edge.identifiers/1"
_POINT_PARTS = 3  # point/<device>/<name>
# A statement never takes a code back to an earlier stage: an old export is no news.
_STAGE = {Status.DRAFT: 0, Status.PENDING: 1, Status.REGISTERED: 2, Status.CONFLICT: 2, Status.REJECTED: 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One line that did, or would do, something. ``before`` is None where the object had no frozen code."""

    key: str
    handle: str
    before: Status | None
    after: Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import did, or would do. With any problem nothing was done.

    Attributes:
        unchanged: number of lines that say what is known.
        ignored: columns that mean nothing to the agent.
    """

    changes: tuple[Change, ...]
    unchanged: int
    problems: tuple[LineProblem, ...]
    ignored: tuple[str, ...]


async def export_csv(assignments: Assignments) -> bytes:
    """Freeze and return all codes as CSV that Excel opens as UTF-8.

    Raises:
        IdentifierError: the codes cannot be frozen.
    """
    await assignments.freeze()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in _rows(assignments):
        labels = json.dumps(row["labels"], ensure_ascii=False) if row["labels"] else ""
        writer.writerow({**row, "labels": labels})
    return text.getvalue().encode("utf-8-sig")


async def export_json(assignments: Assignments) -> bytes:
    """Freeze and return all codes as JSON, an object on each line.

    Raises:
        IdentifierError: the codes cannot be frozen.
    """
    await assignments.freeze()
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in _rows(assignments))
    return f'{{"schema": "{SCHEMA}", "objects": [\n{lines}\n]}}\n'.encode()


def import_file(
    options: IdentifierOptions, lock_path: Path, content: bytes, *, clock: Clock, dry_run: bool
) -> Outcome:
    """Take over a node operator's reply or a replaced box's export: everything in it, or nothing. Blocks.

    Args:
        options: what the configuration says.
        lock_path: the lock file; made if there is none.
        content: CSV or JSON; see docs/identifiers.md.
        clock: dates what the file does not date.
        dry_run: say what would be done, and do nothing.

    Raises:
        IdentifierError: the lock file cannot be read or written.
    """
    statements = read_statements(content)
    plan = draw(options)

    def outcome(lock: Lock) -> tuple[Lock, Outcome]:
        ledger = _Ledger(options, plan, lock, utc(clock))
        ledger.take(statements.items)
        problems = (*statements.problems, *ledger.problems)
        problems = problems or tuple(LineProblem(0, str(problem)) for problem in ledger.clashes())
        return ledger.lock, Outcome(tuple(ledger.changes), ledger.unchanged, problems, statements.ignored)

    if dry_run or statements.problems:
        return outcome(lockfile.read(lock_path))[1]
    with lockfile.guard(lock_path):
        lock, result = outcome(lockfile.read(lock_path))
        if result.changes and not result.problems:
            lockfile.write(lock_path, lock)
    return result


def _rows(assignments: Assignments) -> Iterator[dict[str, object]]:
    for key, entry in assignments.lock.items():
        planned = assignments.plan.objects.get(key)
        yield {
            "object": key,
            "kind": key.partition("/")[0],
            "handle": entry.handle,
            "status": entry.status.value,
            "message": entry.note,
            "gateway": assignments.gateway,
            "name": planned.name if planned else "",
            "labels": dict(planned.labels) if planned else {},
            "unit": planned.unit if planned else "",
            "semantic_id": planned.semantic_id if planned else "",
            "first_seen": entry.first_seen,
            "frozen_at": entry.frozen_at or "",
            "registered_at": entry.registered_at or "",
            "retired_at": entry.retired_at or "",
        }


class _Ledger:
    """The lock while statements are entered into it, one after the other."""

    def __init__(self, options: IdentifierOptions, plan: Plan, lock: Lock, now: str) -> None:
        self._options = options
        self._plan = plan
        self._now = now
        self.lock, _ = merge(lock, plan, now=now, freeze=False)
        self.changes: list[Change] = []
        self.problems: list[LineProblem] = []
        self.unchanged = 0
        self._owners = handle_owners(self.lock)
        self._keys = {entry.handle: key for key, entry in self.lock.items()}
        self._folded = {handle.casefold(): handle for handle in self._keys}

    def take(self, statements: tuple[Statement, ...]) -> None:
        for statement in statements:
            try:
                self._enter(statement)
            except IdentifierError as exc:
                self.problems.append(LineProblem(statement.line, str(exc)))

    def clashes(self) -> list[IdentifierError]:
        """Merge with the plan again; return the planned codes that now belong to somebody else."""
        self.lock, problems = merge(self.lock, self._plan, now=self._now, freeze=False)
        return problems

    def _enter(self, said: Statement) -> None:
        code = parse(said.handle)
        if said.status is Status.REGISTERED and is_placeholder(code.prefix):
            raise _refused(f"{said.handle!r} is a placeholder and can never be registered")
        if said.gateway and said.gateway != self._options.gateway:
            raise _refused(
                f"{said.handle!r} comes from gateway {said.gateway}, this is {self._options.gateway}; "
                "a box that replaces another one keeps its gateway id"
            )
        key = said.key or self._keys.get(said.handle) or self._unknown(said.handle)
        entry = self.lock.get(key)
        before = entry if entry and entry.frozen_at else None
        if before and before.handle != said.handle:
            raise _refused(
                f"{key} has {before.handle!r} since {before.frozen_at}, it cannot become {said.handle!r}"
            )
        after = self._stated(before or self._admitted(key, code, said), said)
        if after == before:
            self.unchanged += 1
            return
        self.lock[key] = after
        self._owners[after.handle.casefold()] = key
        self.changes.append(Change(key, after.handle, before.status if before else None, after.status))

    def _admitted(self, key: str, code: Code, said: Statement) -> Entry:
        """Return a frozen entry for an object that had none."""
        _check_key(key)
        refuse_foreign(self._options.prefix, code)
        refuse_taken(self._owners, key, str(code))
        known = self.lock.get(key)
        return Entry(
            handle=said.handle,
            first_seen=said.first_seen or (known.first_seen if known else self._now),
            frozen_at=said.frozen_at or self._now,
            status=said.status,
            retired_at=said.retired_at or None,
        )

    def _stated(self, entry: Entry, said: Statement) -> Entry:
        if _STAGE[said.status] < _STAGE[entry.status]:
            return entry
        registered_at = None
        if said.status is Status.REGISTERED:
            registered_at = said.registered_at or entry.registered_at or self._now
        note = said.message or (entry.note if said.status is entry.status else "")
        return replace(entry, status=said.status, registered_at=registered_at, note=note)

    def _unknown(self, handle: str) -> str:
        known = self._folded.get(handle.casefold())
        if known:
            raise _refused(f"{handle!r} is not known here; {known!r} is, and case counts")
        raise _refused(f"{handle!r} is not known here, and the line names no object that could get it")


def _check_key(key: str) -> None:
    kind, *ids = key.split("/")
    expected: Mapping[str, int] = {GATEWAY: 0, "device": 1, "point": _POINT_PARTS - 1}
    try:
        if expected.get(kind) != len(ids):
            raise ValueError("write gateway, device/<id> or point/<device>/<name>")  # noqa: TRY301 - one wording
        for part in ids:
            check_id(part)
    except ValueError as exc:
        raise _refused(f"object {key!r}: {exc}") from exc


def _refused(message: str) -> IdentifierError:
    return IdentifierError(message, code=Fault.REFUSED)
