"""``edge-agent outbox salvage``: puts what can be read of a damaged outbox into a sound one, by hand."""

import json
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from edge_agent.cli.audit import recorded
from edge_agent.cli.outbox import file_of
from edge_agent.cli.wording import counted
from edge_agent.errors import OutboxError
from edge_agent.model import PublisherId
from edge_agent.outbox.inspect import status
from edge_agent.outbox.ledger import Plan
from edge_agent.outbox.losses import lacking
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.records import Loaded, SavedRow
from edge_agent.outbox.recovery import FILE_NAME, Keeper
from edge_agent.outbox.salvage import Salvage
from edge_agent.outbox.upkeep import Moment

_NO_BOUND_BYTES = 2**43
"""Nothing gives way to what comes back; the agent keeps to its own bound when it starts."""


def salvage_folder(folder: Path, into: Path, *, as_json: bool) -> None:
    """Salvage ``folder`` and print how much came back.

    Raises:
        OutboxError: the agent runs, or one of the two cannot be used, or nothing can be read.
    """
    if not (folder / FILE_NAME).exists():
        raise OutboxError(f"there is no {FILE_NAME} in {folder}")
    path = file_of(into)
    publishers = [PublisherId(one["id"]) for one in status(path)["publishers"] if one["configured"]]
    keeper = Keeper(OutboxOptions(path.parent, max_bytes=_NO_BOUND_BYTES), publishers, None)
    with recorded(path.parent, "outbox.salvage", folder=str(folder)):
        keeper.lock()
        try:
            opened = keeper.reopen(time.time_ns())
            salvage = Salvage(folder)
            report = _salvage(salvage, keeper, opened.loaded)
            if not salvage.survey.tables and not any(report.values()):
                raise OutboxError(f"nothing in {folder / FILE_NAME} can be read as an outbox; is it another file?")
        finally:
            keeper.close()
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(
        f"{counted(report['saved_rows'], 'row')} came back, "
        f"{counted(report['lost_rows'], 'row')} with {counted(report['lost_readings'], 'reading')} cannot be read"
    )


def _salvage(salvage: Salvage, keeper: Keeper, loaded: Loaded) -> dict[str, int]:
    has = {publisher: Ranges(ids) for publisher, ids in loaded.acknowledged.items()}
    saved = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("salvage", total=1.0)
        for _ in salvage.look():
            progress.update(task, completed=salvage.progress)
        for publisher, ids in salvage.survey.acknowledged.items():
            for span in ids if publisher in has else ():
                has[publisher].add(*span)
        confirmed = {publisher: ids.spans() for publisher, ids in has.items()}
        last_id = _write(keeper, loaded.last_id, Plan(acknowledged=confirmed))
        owing = lacking(loaded.kept, has)
        for piece in salvage.pieces():
            rows: list[tuple[SavedRow, int | None]] = [(row, None) for row in piece if owing(row.id)]
            restored, _ = keeper.restore(rows, has) if rows else (Ranges(), None)
            saved += len(restored)
            progress.update(task, completed=salvage.progress)
        losses = [loss for loss in salvage.losses(owing, time.time_ns()) if loss is not None]
    _write(keeper, last_id, Plan(losses=losses))
    return {
        "saved_rows": saved,
        "lost_rows": sum(loss.gap.rows for loss in losses),
        "lost_readings": sum(loss.gap.readings for loss in losses),
    }


def _write(keeper: Keeper, last_id: int, plan: Plan) -> int:
    """Commit what is noted; return the last id, for gap records may have come with it."""
    if not plan.is_something:
        return last_id
    moment = Moment(time.time_ns(), time.monotonic(), is_last=True)
    return last_id + len(keeper.write([], last_id + 1, plan, [], moment).rows)
