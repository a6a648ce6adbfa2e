"""Scenario ``scrape``: what one ``GET /metrics`` costs an agent with 500 devices and two publishers."""

import time
import zlib

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from edge_agent.metrics import Metrics

HEADER = ["scenario", "devices", "bytes", "CPU ms per scrape, compressed", "as OpenMetrics, for comparison"]
DEVICES, PUBLISHERS, ROUNDS = 500, 2, 20


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
                metric.labels(f"{label}-{number:03}")
