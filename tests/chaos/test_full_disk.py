"""A disk filled by the agent itself or by a neighbour, then freed: no exit, no silent loss, back within 10 s."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.modbus import plc
from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, lasting_broker, settled, started, until
from tests.servers.agent import AgentProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MIB = 1024 * 1024
DISK_MIB, RESERVE_MIB = 12, 3
DEVICES, POINTS = 20, 120
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """A file system of its own for the state directory."""
    at.mkdir()
    options = f"size={DISK_MIB}m,uid={os.geteuid()},mode=0700"
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", at], check=True)
    try:
        yield at
    finally:
        subprocess.run([*AS_ROOT, "umount", "--lazy", at], check=True)


def take_all(file: Path) -> None:
    """Let a neighbour take what is left of the disk."""
    with file.open("ab", buffering=0) as taken, contextlib.suppress(OSError):
        while True:
            taken.write(bytes(4096))


def yaml(plc_port: int, broker_port: int) -> str:
    """A plant whose registers change all the time, as much as it takes to fill the disk soon."""
    lines = [
        "gateway: {id: gw-disk}",
        'identifiers: {prefix: "88.000.7", allow_placeholder: true}',
        "publishers:",
        f'  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker_port}"], retry_max: 2s}}',
        "devices:",
    ]
    for number in range(DEVICES):
        lines += [f"  - id: press-{number}", "    driver: modbus", f"    host: 127.0.2.{1 + number}"]
        lines += [f"    port: {plc_port}", "    interval: 100ms", "    points:"]
        lines += [f"      - {{name: p{n}, holding: {n * 977 % 9973}, type: uint16}}" for n in range(POINTS)]
    return "\n".join(lines) + "\n"


def committed(one: AgentProcess) -> float:
    return one.metrics()["edge_agent_outbox_committed_readings_total"]


def free_mib(at: Path) -> float:
    disk = os.statvfs(at)
    return disk.f_bavail * disk.f_frsize / MIB


def alive(one: AgentProcess) -> None:
    assert one.process is not None
    assert one.process.poll() is None, f"the agent ended: {one.log.read_text()[-2000:]}"


def judged(oracle: Oracle, one: AgentProcess) -> None:
    """Everything that is missing has been told of, exactly."""
    assert len(oracle.missing(one.state)) == oracle.told_rows()
    assert not oracle.unexplained(one.state)
    assert not oracle.unexpected(one.state)


def test_a_disk_that_the_agent_fills_costs_the_oldest_only_and_each_is_told_of(tmp_path: Path) -> None:
    oracle = Oracle()
    with small_disk(tmp_path / "disk") as disk, lasting_broker() as (broker, received), plc() as plc_port:
        broker.stop()
        one = AgentProcess(
            tmp_path, yaml(plc_port, broker.port), outbox=f"reserve: {RESERVE_MIB}MiB", state=disk / "state"
        )
        with started(one):
            until(
                lambda: one.metrics().get("edge_agent_outbox_lost_readings_total", 0) > 0, "the disk is full", 120
            )
            least_mib, end_s = free_mib(disk), time.monotonic() + 15
            while time.monotonic() < end_s:
                before = committed(one)
                until(lambda: committed(one) > before, "it goes on to commit", within_s=10)  # noqa: B023 - this turn's
                alive(one)
                least_mib = min(least_mib, free_mib(disk))
            broker.start()
            drained(one, 4 * DEVICES)
            assert one.stop() == 0
            settled(oracle, received, one)
            print(f"disk of {DISK_MIB} MiB filled by the agent: at least {least_mib:.1f} MiB stayed free")
            judged(oracle, one)
    assert oracle.told_rows() > 0
    assert least_mib >= RESERVE_MIB


def test_a_disk_that_a_neighbour_fills_is_survived_and_left_behind_within_10_s(tmp_path: Path) -> None:
    oracle = Oracle()
    with small_disk(tmp_path / "disk") as disk, lasting_broker() as (broker, received), plc() as plc_port:
        one = AgentProcess(
            tmp_path, yaml(plc_port, broker.port), outbox=f"reserve: {RESERVE_MIB}MiB", state=disk / "state"
        )
        with started(one):
            until(lambda: committed(one) > 0, "readings")
            neighbour = disk / "neighbour"
            take_all(neighbour)
            broker.stop()
            for _ in range(10):
                time.sleep(1)
                alive(one)
                take_all(neighbour)  # and whatever the agent gives up
            buffered = one.metrics()["edge_agent_outbox_buffered_readings"]
            broker.start()
            neighbour.unlink()
            begin_s, before = time.monotonic(), committed(one)
            until(lambda: committed(one) > before + buffered, "what was in memory is on disk", within_s=15)
            back_s = time.monotonic() - begin_s
            drained(one, 4 * DEVICES)
            assert one.stop() == 0
            settled(oracle, received, one)
            print(f"disk filled by a neighbour: {buffered:.0f} readings in memory, back in {back_s:.1f} s")
            judged(oracle, one)
    assert buffered > 0
    assert back_s < 10
