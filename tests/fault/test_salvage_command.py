"""A damaged outbox from elsewhere is salvaged by hand."""

import asyncio
import shutil
from array import array
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.commands import app
from edge_agent.errors import OutboxError
from edge_agent.model import Column, DataType, ReadingBatch
from edge_agent.outbox.recovery import FILE_NAME
from tests.fault.test_recovery import PRESS, no_tree, spoil_tree
from tests.model.outbox_kit import CLOUD, T0_NS, drain, fill, numbers, opened


@pytest.mark.slow
async def test_a_folder_is_salvaged_into_a_sound_outbox(tmp_path: Path) -> None:
    broken, sound = tmp_path / "broken", tmp_path / "sound"
    times_ns = array("q", [-5, 6]), array("q", [7, 0])
    column = Column(DataType.INT64, array("H", [0, 1]), array("q", [30, 31]), None, *times_ns)
    stamped = ReadingBatch(PRESS.device, T0_NS + 30, (column,))
    async with opened(broken, CLOUD) as outbox:
        await fill(outbox, PRESS, *range(1, 30))
        await outbox.append(PRESS, stamped)
        await outbox.flush()
        outbox.begin(CLOUD).confirm([1, 2])
        await outbox.flush()
    async with opened(sound, CLOUD):
        pass
    await asyncio.to_thread(spoil_tree, broken, no_tree)
    command = ["outbox", "salvage", str(broken), str(sound)]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (
        0,
        "28 rows came back, 0 rows with 0 readings cannot be read\n",
    )
    async with opened(sound, CLOUD) as outbox:
        rows = await drain(outbox.begin(CLOUD))
        assert numbers(rows) == list(range(3, 31))
        (column,) = rows[-1].batches[0].columns
        assert (column.offsets_ns, column.lags_ns) == times_ns
        with pytest.raises(OutboxError, match="in use by process"):
            await asyncio.to_thread(CliRunner().invoke, app, command, catch_exceptions=False)
    shutil.rmtree(broken)
    with pytest.raises(OutboxError, match=f"no {FILE_NAME}"):
        await asyncio.to_thread(CliRunner().invoke, app, command, catch_exceptions=False)


async def test_a_file_that_is_no_outbox_is_told_as_a_failure(tmp_path: Path) -> None:
    sound, other = tmp_path / "sound", tmp_path / "other"
    async with opened(sound, CLOUD):
        pass
    other.mkdir()
    (other / FILE_NAME).write_bytes(b"\xa9\x11" * 5000)
    command = ["outbox", "salvage", str(other), str(sound)]
    with pytest.raises(OutboxError, match=r"nothing in .* can be read as an outbox"):
        await asyncio.to_thread(CliRunner().invoke, app, command, catch_exceptions=False)
