"""kill -9 of the whole agent, again and again: PLC and broker are real, the oracle compares everything."""

import random
import time
from pathlib import Path

import pytest

from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, head_yaml, in_streams, lasting_broker, modbus_yaml, settled
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        10,
        pytest.param(100, marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
        pytest.param(1000, marks=[pytest.mark.nightly, pytest.mark.timeout(9000)]),
    ],
)
def test_kills_lose_nothing_that_was_committed_and_invent_nothing(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    oracle = Oracle()
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        one = AgentProcess(tmp_path, head_yaml(broker) + modbus_yaml(plc.port, interval="20ms"))
        for _ in range(kills):
            one.start()
            time.sleep(dice.uniform(0.0, 1.2))
            one.kill()
        one.start()
        drained(one)
        assert one.stop() == 0
        settled(oracle, received, one)
    assert len(oracle.rows) > 2 * kills
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
    assert oracle.duplicated or kills < 100, "no kill hit between PUBACK and commit: the test is too weak"
    for (device, _, _, point, _), value in oracle.readings.items():
        assert value in {1000 * int(device[-1]) + int(point[1:]), None}, f"{device} {point} = {value}"
    for rows in in_streams(received.messages).values():
        assert rows == sorted(rows), "rows of one device and stream came out of order"
    assert oracle.codes == {"88.000.7/EQ.press-1", "88.000.7/EQ.press-2"}
