"""A database of each released schema, with rows queued, is taken over with all that is in it."""

import shutil
from pathlib import Path

import pytest

from edge_agent.model import DeviceId
from tests.model.outbox_kit import CLOUD, PLANT, drain, named, numbers, opened

CASES = Path(__file__).parents[1] / "cases" / "outbox"


@pytest.mark.slow
async def test_rows_that_schema_1_had_queued_are_delivered(tmp_path: Path) -> None:
    shutil.copy(CASES / "schema-1" / "outbox.db", tmp_path)
    async with opened(tmp_path, CLOUD, PLANT, machine="") as outbox:
        cloud = await drain(outbox.begin(CLOUD))
        plant = await drain(outbox.begin(PLANT))
        assert [row.id for row in cloud] == [3, 4, 5, 7, 8]
        assert [row.id for row in plant] == [1, 2, 3, 4, 6, 7, 8]
        assert named(plant) == [
            ("fault", 1), ("door", 1), ("parts", 1), ("a", 1), ("speed", 3), ("speed", 4), ("load", 5),
        ]  # fmt: skip
        assert numbers(cloud) == [1, 1, 2, 4, 5]
        assert dict(outbox.learned(DeviceId("press-01"))) == {"refused": "3,4"}
        await outbox.flush()
        assert outbox.summary()["rows"] == 0
