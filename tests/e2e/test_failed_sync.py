"""A sync that fails ends the whole agent with its own exit code; started again it goes on with what is on disk."""

from pathlib import Path

import pytest

from edge_agent.cli.exits import ExitCode
from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, head_yaml, lasting_broker, modbus_yaml, settled, started, until
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.shim import shim

FAILURES = 5


@pytest.mark.slow
def test_a_failed_sync_ends_the_agent_with_74_and_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    failing = tmp_path / "syncs-fail"
    environment = {"LD_PRELOAD": str(shim("sync_shim")), "SYNC_SHIM": str(failing)}
    oracle = Oracle()
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        yaml = head_yaml(broker) + modbus_yaml(plc.port, interval="20ms")
        one = AgentProcess(tmp_path, yaml, environment=environment)
        for _ in range(FAILURES):
            with started(one):
                until(lambda: one.metrics()["edge_agent_outbox_committed_readings_total"] > 0, "readings are kept")
                failing.touch()
                assert one.process is not None
                assert one.process.wait(20) == ExitCode.DISK_FAILED, one.log.read_text()
                failing.unlink()
        one.start()
        drained(one)
        assert one.stop() == 0
        settled(oracle, received, one)
    assert len(oracle.rows) > FAILURES
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
