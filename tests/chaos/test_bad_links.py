"""Links to the broker that are bad without being down: noticed in time, cheap, and nothing is lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, head_yaml, lasting_broker, modbus_yaml, settled, until
from tests.servers.agent import AgentProcess
from tests.servers.link import Link, Proxy, proxy
from tests.servers.modbus_server import libmodbus_server

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

KEEP_ALIVE_S = 5.0


@contextmanager
def plant(folder: Path, retry_max: str = "2s") -> Iterator[tuple[AgentProcess, Proxy]]:
    """An agent whose broker is behind a proxy. After the block everything committed arrives."""
    oracle = Oracle()
    with lasting_broker() as (broker, received), proxy(broker.port) as way, libmodbus_server() as plc:
        yaml = head_yaml(broker) + modbus_yaml(plc.port, interval="100ms")
        yaml = yaml.replace(f":{broker.port}", f":{way.port}")
        yaml = yaml.replace("retry_max: 2s", f"retry_max: {retry_max}\n    keep_alive: {KEEP_ALIVE_S:g}s", 1)
        one = AgentProcess(folder, yaml)
        one.start()
        until(lambda: one.metrics()["edge_agent_acknowledged_readings_total"] > 0, "readings arrive")
        yield one, way
        way.link = Link.GOOD
        drained(one)
        assert one.stop() == 0
        settled(oracle, received, one)
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)


class Cost:
    """What the agent takes from now on."""

    def __init__(self, one: AgentProcess) -> None:
        assert one.process is not None
        self._process = psutil.Process(one.process.pid)
        self._begin_s, self._cpu_s = time.monotonic(), self._cpu()
        self._rss = self._process.memory_info().rss

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def cpu_share(self) -> float:
        return (self._cpu() - self._cpu_s) / (time.monotonic() - self._begin_s)

    def grown_mib(self) -> float:
        return float(self._process.memory_info().rss - self._rss) / 2**20


def good_share(one: AgentProcess) -> float:
    """Return what it takes on a good link: two devices are polled every 100 ms, and all of it is sent."""
    cost = Cost(one)
    time.sleep(10)
    return cost.cpu_share()


def test_a_half_open_connection_is_noticed_and_costs_nothing(tmp_path: Path) -> None:
    with plant(tmp_path) as (one, way):
        begin_s = time.monotonic()
        way.link = Link.HALF_OPEN
        until(lambda: not one.metrics()["edge_agent_publisher_up"], "the loss is noticed")
        noticed_s = time.monotonic() - begin_s
        time.sleep(5)
    print(f"half-open: noticed after {noticed_s:.1f} s with a keep-alive of {KEEP_ALIVE_S:g} s")
    assert noticed_s <= 1.5 * KEEP_ALIVE_S + 1.0


def test_a_broker_that_accepts_and_never_answers_is_cheap(tmp_path: Path) -> None:
    with plant(tmp_path) as (one, way):
        good = good_share(one)
        way.link = Link.HALF_OPEN
        until(lambda: not one.metrics()["edge_agent_publisher_up"], "the loss is noticed")
        cost = Cost(one)
        time.sleep(30)
        cpu, grown = cost.cpu_share(), cost.grown_mib()
    print(f"never answering: {cpu:.1%} CPU (a good link: {good:.1%}), RSS {grown:+.1f} MiB")
    assert grown < 8
    assert cpu < 1.5 * good


def test_a_link_of_one_kilobyte_a_second_costs_no_memory(tmp_path: Path) -> None:
    with plant(tmp_path) as (one, way):
        good = good_share(one)
        way.link = Link.SLOW
        time.sleep(10)
        cost = Cost(one)
        time.sleep(30)
        cpu, grown = cost.cpu_share(), cost.grown_mib()
        pending = one.metrics()["edge_agent_outbox_pending_rows"]
    print(f"1 KB/s: {pending:.0f} rows behind, {cpu:.1%} CPU (a good link: {good:.1%}), RSS {grown:+.1f} MiB")
    assert pending > 50, "the link was not slow enough to matter"
    assert grown < 8
    assert cpu < 1.5 * good


def test_a_broker_that_closes_a_hundred_times_is_not_hammered(tmp_path: Path) -> None:
    with plant(tmp_path, retry_max="1s") as (one, way):
        good, before = good_share(one), way.accepted
        way.link = Link.CLOSING
        cost, begin_s = Cost(one), time.monotonic()
        until(lambda: way.accepted - before >= 100, "a hundred attempts", within_s=200)
        took_s, cpu, grown = time.monotonic() - begin_s, cost.cpu_share(), cost.grown_mib()
    print(
        f"closed 100 times in {took_s:.0f} s (retry_max 1 s): {cpu:.1%} CPU (a good link: {good:.1%}), "
        f"RSS {grown:+.1f} MiB"
    )
    assert took_s > 30
    assert grown < 8
    assert cpu < 1.5 * good
