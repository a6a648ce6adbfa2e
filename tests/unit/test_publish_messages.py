import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pytest

from edge_agent.model import DeviceId
from edge_agent.outbox.rows import Gap, Reason, Stream
from edge_agent.publish import messages
from edge_agent.publish.json_encoder import encode_gap
from edge_agent.publish.messages import Sender
from edge_agent.publish.outgoing import Packer
from tests.servers.memory_outbox import T0_NS, make_row

SCHEMAS = files("edge_agent.publish") / "schema"


def validate(payload: bytes, name: str) -> dict[str, object]:
    body: dict[str, object] = json.loads(payload)
    jsonschema.validate(body, json.loads((SCHEMAS / name).read_text()))
    return body


@pytest.mark.parametrize(
    "name", ["edge.data-1.json", "edge.gap-1.json", "edge.status-1.json", "edge.health-1.json"]
)
def test_shipped_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((SCHEMAS / name).read_text()))


@pytest.mark.parametrize(("is_online", "state"), [(True, "online"), (False, "offline")])
def test_status_is_retained_and_says_which_state(is_online: bool, state: str) -> None:
    message = messages.status("s", Sender("gw-01", "e1"), is_online=is_online, t_ns=0, version="1.2.3")
    assert message.retain
    assert validate(message.payload, "edge.status-1.json") == {
        "schema": "edge.status/1",
        "gateway": "gw-01",
        "epoch": "e1",
        "t": "1970-01-01T00:00:00.000000Z",
        "state": state,
        "version": "1.2.3",
    }


def test_health_wraps_the_summary_and_carries_the_code() -> None:
    message = messages.health("h", Sender("gw-01", "e1", "88.1.1/GW"), t_ns=T0_NS, summary={"pending_rows": 3})
    body = validate(message.payload, "edge.health-1.json")
    assert not message.retain
    assert (body["code"], body["health"]) == ("88.1.1/GW", {"pending_rows": 3})


def packer(limit_bytes: int) -> Packer:
    return Packer(
        "gw-01",
        lambda device: f"t/{device}",
        lambda device: f"g/{device}",
        lambda _device: None,
        lambda _topic: limit_bytes,
    )


def test_rows_of_one_device_share_a_message_up_to_the_limit() -> None:
    rows = [make_row(number) for number in range(1, 11)]
    whole = next(packer(10**6).pack(Stream.LIVE, rows))
    assert whole.row_ids == tuple(range(1, 11))
    assert whole.readings == 10
    limit_bytes = len(whole.message.payload) // 3
    parts = list(packer(limit_bytes).pack(Stream.LIVE, rows))
    assert len(parts) > 3
    assert [number for part in parts for number in part.row_ids] == list(range(1, 11))
    assert all(len(part.message.payload) <= limit_bytes for part in parts)
    assert all(validate(part.message.payload, "edge.data-1.json") for part in parts)


def test_the_limit_is_met_to_the_byte() -> None:
    rows = [make_row(number) for number in range(1, 5)]
    size = len(next(packer(10**6).pack(Stream.LIVE, rows)).message.payload)
    assert len(list(packer(size).pack(Stream.LIVE, rows))) == 1
    assert len(list(packer(size - 1).pack(Stream.LIVE, rows))) == 2


def test_a_row_that_is_larger_than_the_limit_goes_alone() -> None:
    parts = packer(1).pack(Stream.LIVE, [make_row(1), make_row(2)])
    assert [part.row_ids for part in parts] == [(1,), (2,)]


def test_devices_and_epochs_never_share_a_message() -> None:
    rows = [make_row(1, "a"), make_row(2, "b"), make_row(3, "a"), make_row(4, "a", epoch="e2")]
    parts = list(packer(10**6).pack(Stream.REPLAY, rows))
    found = [(part.device, json.loads(part.message.payload)["epoch"], part.row_ids) for part in parts]
    assert found == [("a", "e1", (1, 3)), ("b", "e1", (2,)), ("a", "e2", (4,))]
    assert parts[1].message.topic == "t/b"


def test_a_removed_device_keeps_its_code() -> None:
    codes = {DeviceId("old"): "88.1.1/EQ.OLD"}
    coded = Packer("gw-01", str, str, codes.get, lambda _topic: 10**6)
    parts = coded.pack(Stream.REPLAY, [make_row(1, "old"), make_row(2, "new")])
    assert [json.loads(part.message.payload).get("code") for part in parts] == ["88.1.1/EQ.OLD", None]


GAP = Gap("trend", 3, 3000, T0_NS, T0_NS + 1_500_000, Reason.FULL, "e0", 7, 12)


def test_a_gap_record_is_a_message_of_its_own_on_its_own_topic() -> None:
    before, after = make_row(1), make_row(3)
    gap_row = replace(make_row(2), batches=(), count=0, gap=GAP)
    data, gap = packer(10**6).pack(Stream.LIVE, [before, gap_row, after])
    assert data.row_ids == (1, 3)
    assert (gap.row_ids, gap.readings, gap.times_ns, gap.message.topic) == ((2,), 0, (), "g/press-01")
    assert validate(gap.message.payload, "edge.gap-1.json") == {
        "schema": "edge.gap/1",
        "gateway": "gw-01",
        "device": "press-01",
        "epoch": "e1",
        "row": 2,
        "reason": "full",
        "class": "trend",
        "from": "2026-09-21T14:13:20.000000Z",
        "to": "2026-09-21T14:13:20.001500Z",
        "readings": 3000,
        "rows": 3,
        "missing": {"epoch": "e0", "first": 7, "last": 12},
    }


def test_a_gap_record_of_readings_that_never_got_a_row_names_none_and_carries_the_code() -> None:
    gap = replace(GAP, rows=0, row_first=0, row_last=0, reason=Reason.NEWEST)
    body = validate(encode_gap("gw-01", "88.1.1/EQ", replace(make_row(2), gap=gap)), "edge.gap-1.json")
    assert "missing" not in body
    assert (body["code"], body["reason"]) == ("88.1.1/EQ", "newest")
    with pytest.raises(ValueError, match="not a gap record"):
        encode_gap("gw-01", None, make_row(2))
