"""Nothing of the agent grows with what has gone through it: memory, descriptors, threads.

``SOAK_S=3600 pytest -m chaos tests/chaos/test_soak.py -s`` is the hour by hand.
"""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.plant import head_yaml, modbus_yaml
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto

SOAK_S = float(os.environ.get("SOAK_S", "90"))
UNITS = 20
BROKER_AWAY_EVERY_S = 10.0
GROWTH_MAX_BYTES = 2 * 2**20
BATCHES_MIN_PER_S = 300  # an hour is a million

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SOAK_S + 120)]


@dataclass(frozen=True, slots=True)
class Sample:
    rss_bytes: int
    descriptors: int
    threads: int


def sample(process_id: int) -> Sample:
    folder = Path(f"/proc/{process_id}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text("utf-8").splitlines())
    return Sample(
        int(status["VmRSS"].split()[0]) * 1024, len(list((folder / "fd").iterdir())), int(status["Threads"])
    )


def test_memory_descriptors_and_threads_do_not_grow_with_the_batches(folder: Path) -> None:
    with mosquitto() as broker, libmodbus_server() as plc:
        points = [f"      - {{name: r{n}, holding: {n}, type: uint16}}" for n in range(4)]
        agent = AgentProcess(
            folder, head_yaml(broker) + modbus_yaml(plc.port, units=UNITS, interval="10ms", points=points)
        )
        agent.start()
        samples, began_s, is_away = [], time.monotonic(), False
        try:
            assert agent.process is not None
            while (past_s := time.monotonic() - began_s) < SOAK_S:
                samples.append(sample(agent.process.pid))
                if (past_s % BROKER_AWAY_EVERY_S > BROKER_AWAY_EVERY_S / 2) != is_away:
                    is_away = not is_away
                    (broker.stop if is_away else broker.start)()
                time.sleep(0.2)
            exchanges = agent.metrics()["edge_agent_exchanges_total"]
        finally:
            if is_away:
                broker.start()
            agent.stop()
    # The first third is for caches and pools to fill.
    middle, last = samples[len(samples) // 3 : 2 * len(samples) // 3], samples[2 * len(samples) // 3 :]
    growth = statistics.median(one.rss_bytes for one in last) - statistics.median(one.rss_bytes for one in middle)
    print(
        f"\n{exchanges:,.0f} batches in {SOAK_S:.0f} s: RSS {last[-1].rss_bytes / 2**20:.1f} MiB, grown by "
        f"{growth / 2**20:.2f} MiB between the middle and the last third, descriptors "
        f"{max(one.descriptors for one in middle)} and {max(one.descriptors for one in last)}, threads "
        f"{max(one.threads for one in middle)} and {max(one.threads for one in last)}"
    )
    assert exchanges > SOAK_S * BATCHES_MIN_PER_S, "too little went through it to say anything"
    assert growth < GROWTH_MAX_BYTES
    assert max(one.descriptors for one in last) <= max(one.descriptors for one in middle) + 1
    assert max(one.threads for one in last) <= max(one.threads for one in middle)
