"""Scenario ``config-load``: reading and checking a file of 500 devices, against the YAML parser alone."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from edge_agent import config
from edge_agent.registry import Registry
from tests.cases.config.kit import HEAD

HEADER = ["scenario", "devices", "points", "KiB", "YAML alone, CPU s", "all of it, CPU s", "ratio"]
DEVICES, POINTS = 500, 30


def document() -> str:
    """Return a file as ``DEVICES`` Modbus devices of ``POINTS`` points make it, written out in full."""
    points = "".join(
        f"      - {{name: p{i}, register: {40001 + 2 * i}, type: float32, unit: K, deadband: {{absolute: 1}}}}\n"
        for i in range(POINTS)
    )
    devices = "".join(
        f"  - id: d{i}\n    driver: modbus\n    host: 10.0.{i // 250}.{i % 250}\n    points:\n{points}"
        for i in range(DEVICES)
    )
    return f"{HEAD}devices:\n{devices}"


def run() -> list[str]:
    text = document()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_text(text)
        began_s = time.process_time()
        yaml.compose(text, Loader=yaml.CSafeLoader)
        parsed_s = time.process_time()
        config.load(file, Registry())
        ended_s = time.process_time()
    alone_s, whole_s = parsed_s - began_s, ended_s - parsed_s
    cells = (f"{len(text) / 1024:,.0f}", f"{alone_s:.2f}", f"{whole_s:.2f}", f"{whole_s / alone_s:.1f}×")
    return ["config-load", str(DEVICES), f"{DEVICES * POINTS:,}", *cells]
