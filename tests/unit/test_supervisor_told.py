"""What a session tells of a device besides its readings."""

import pytest

from tests.servers.supervised import Bench, Plant


class Obstinate(Plant):
    remarks = ("it samples each 250ms, not each 100ms",)


async def test_what_a_device_does_otherwise_than_asked_is_logged_once_and_shown_while_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Obstinate())
    shown = []
    async with bench.running():
        for is_up in (True, False, True):
            bench.plant.is_up = is_up
            await bench.clock.advance(300)
            shown.append(bench.current.remarks)
    assert shown == [Obstinate.remarks, (), Obstinate.remarks]
    told = [record.__dict__["remark"] for record in caplog.records if "not do as asked" in record.getMessage()]
    assert told == list(Obstinate.remarks)
