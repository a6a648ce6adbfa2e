"""Scenario ``scrape``: what one ``GET /metrics`` costs an agent with 500 devices and two publishers."""

import random
import time
import zlib

from prometheus_client import Counter, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from edge_agent.metrics import Metrics

HEADER = ["scenario", "devices", "bytes", "CPU ms per scrape, compressed", "as OpenMetrics, for comparison"]
DEVICES, PUBLISHERS, ROUNDS = 500, 2, 20
RANDOM = random.Random(1)


def run() -> list[str]:
    metrics = Metrics()
    _fill(metrics, "device", DEVICES)
    _fill(metrics, "publisher", PUBLISHERS)
    body = generate_latest(metrics.registry)
    costs_ms = []
    for encode in (generate_latest, generate_openmetrics):
        began_s = time.process_time()
        for _ in range(ROUNDS):
            zlib.compress(encode(metrics.registry))
        costs_ms.append((time.process_time() - began_s) / ROUNDS * 1000)
    return ["scrape", str(DEVICES), f"{len(body):,}", *(f"{cost_ms:.1f}" for cost_ms in costs_ms)]


def _fill(metrics: Metrics, label: str, count: int) -> None:
    for metric in vars(metrics).values():
        if getattr(metric, "_labelnames", None) == (label,):
            for number in range(count):
                one = metric.labels(f"{label}-{number:03}")
                # Values as after months of running: zeros are written, and compressed, for less.
                if isinstance(one, Counter):
                    one.inc(RANDOM.randrange(10**9))
                elif isinstance(one, Gauge):
                    one.set(1.8e9 + RANDOM.random())
