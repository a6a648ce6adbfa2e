"""What can be seen of an outbox from outside, beside a running agent."""

import json
from array import array
from asyncio import to_thread
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError
from edge_agent.model import Column, DataType, DeviceId, ReadingBatch, ReadingClass
from edge_agent.outbox.inspect import show, status
from edge_agent.outbox.store import FILE_NAME
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, batch, drain, fill, opened, table


async def test_status_beside_a_running_agent(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    press = table("press-01", "a", "b", door=ReadingClass.EVENT)
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        empty = await to_thread(status, path)
        await fill(outbox, press, 1, 2, 3)
        await outbox.append(press, batch(press, 4, (0, 1, 2)))
        await fill(outbox, table("cnc-07"), 5)
        await drain(outbox.begin(CLOUD))
        outbox.begin(PLANT).confirm([1, 3])
        await outbox.flush()
        seen = await to_thread(status, path)
        assert json.loads(json.dumps(seen))["epoch"] == outbox.epoch
    assert (empty["rows"], empty["oldest_ns"], empty["publishers"][0]["pending_rows"]) == (0, None, 0)
    assert (seen["schema"], seen["rows"], seen["readings"], seen["newest_row"]) == (3, 4, 5, 6)
    assert seen["devices"] == [
        {"device": "cnc-07", "class": "trend", "rows": 1, "readings": 1},
        {"device": "press-01", "class": "event", "rows": 1, "readings": 1},
        {"device": "press-01", "class": "trend", "rows": 2, "readings": 3},
    ]
    words = ("id", "configured", "pending_rows", "acknowledged")
    assert [tuple(publisher[word] for word in words) for publisher in seen["publishers"]] == [
        ("cloud", True, 0, [(1, 6)]),
        ("plant", True, 4, [(1, 1), (3, 3)]),
    ]
    words = ("committed_readings", "confirmed_readings", "dropped_readings", "pending_readings")
    assert [tuple(publisher[word] for word in words) for publisher in seen["publishers"]] == [
        (7, 7, 0, 0),
        (7, 2, 0, 5),
    ]
    assert (seen["oldest_ns"], seen["newest_ns"]) == (T0_NS + 2, T0_NS + 5)
    assert seen["bytes"] > 4096


async def test_a_publisher_that_was_removed_is_still_shown(tmp_path: Path) -> None:
    seen = []
    for configured in ((CLOUD, PLANT), (PLANT,), (CLOUD,)):
        async with opened(tmp_path, *configured):
            publishers = (await to_thread(status, tmp_path / FILE_NAME))["publishers"]
            seen.append({publisher["id"]: publisher["configured"] for publisher in publishers})
    assert seen == [
        {"cloud": True, "plant": True},
        {"cloud": False, "plant": True},
        {"cloud": True, "plant": False},
    ]


async def test_show_names_readings_as_they_were_taken(tmp_path: Path) -> None:
    old = table("press-01", "speed", "level")
    columns = (
        Column(DataType.BOOL, array("H", [1]), array("B", [1]), None, array("q", [-3]), array("q", [2])),
        Column(DataType.FLOAT64, array("H", [0]), array("d", [2.5]), array("I", [0x80000000])),
    )
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.append(old, ReadingBatch(old.device, T0_NS, columns))
        await outbox.flush()
        await fill(outbox, table("press-01", "level", "speed"), 7)
        await fill(outbox, table("cnc-07"), 8)
        first, second = await to_thread(show, tmp_path / FILE_NAME, device=DeviceId("press-01"))
        (newest,) = await to_thread(show, tmp_path / FILE_NAME, limit=1)
    assert first["readings"] == [
        {
            "point": "level",
            "unit": "",
            "value": True,
            "status": 0,
            "time_ns": T0_NS - 3,
            "server_time_ns": T0_NS - 1,
        },
        {
            "point": "speed",
            "unit": "",
            "value": None,
            "status": 0x80000000,
            "time_ns": T0_NS,
            "server_time_ns": None,
        },
    ]
    assert [r["point"] for r in second["readings"]] == ["level"]
    assert (first["row"], second["row"], newest["device"], newest["class"]) == (1, 2, "cnc-07", "trend")


async def test_a_stopped_outbox_can_be_looked_into(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, table(), 1)
    assert (await to_thread(status, tmp_path / FILE_NAME))["rows"] == 1
    assert len(await to_thread(show, tmp_path / FILE_NAME)) == 1


def test_what_is_no_outbox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="there is no outbox"):
        status(tmp_path / FILE_NAME)
    (tmp_path / "text").write_text("not a database, but long enough to look like one" * 10)
    with pytest.raises(OutboxError, match="not a database"):
        show(tmp_path / "text")
    (tmp_path / "empty").touch()
    with pytest.raises(OutboxError, match="is empty"):
        status(tmp_path / "empty")
