import re
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from edge_agent.metrics import Metrics
from edge_agent.ops.reference import markdown

ROOT = Path(__file__).parents[2]
ALL = [metric for metric in vars(Metrics()).values() if isinstance(metric, MetricWrapperBase)]
# Names that count things without a unit; everything else ends in a base unit.
UNITLESS_GAUGES = {
    "info",
    "clock_synced",
    "config_is_last_good",
    "config_last_reload_successful",
    "identifiers_configured",
    "outbox_salvage_progress",
    "device_up",
    "publisher_up",
    "publisher_insecure",
    "outbox_write_budget_passed",
}
COUNTED_GAUGES = {
    "audit_entries",
    "outbox_buffered_readings",
    "outbox_confirmed_readings",
    "outbox_dropped_readings",
    "outbox_owed_readings",
    "outbox_pending_readings",
    "outbox_pending_rows",
    "refused_points",
    "replay_pending_readings",
    "replay_rate",
}


def family(metric: MetricWrapperBase) -> Metric:
    (only,) = metric.describe()
    return only


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: family(metric).name)
def test_names_units_help_and_labels_follow_the_rules(metric: MetricWrapperBase) -> None:
    described = family(metric)
    name = described.name.removeprefix("edge_agent_")
    assert described.name != name, "prefix"
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert described.documentation.endswith(".")
    assert len(described.documentation) > 10
    if described.type == "histogram":
        assert name.endswith(("_seconds", "_bytes"))
    elif described.type == "gauge":
        allowed = name in UNITLESS_GAUGES | COUNTED_GAUGES
        assert allowed or name.endswith(("_seconds", "_bytes"))
    else:
        assert described.type == "counter"
        assert not re.search(r"_(ms|milliseconds|kb|minutes)(_|$)", name)
    if name != "info":
        assert set(metric._labelnames) <= {"device", "publisher", "protocol", "reason", "certificate", "result"}
    if described.type == "histogram":
        assert "device" not in metric._labelnames, "a histogram per device is too much for one scrape"


def test_the_reference_is_what_the_code_has() -> None:
    assert (ROOT / "docs/reference/metrics.md").read_text("utf-8") == markdown()
