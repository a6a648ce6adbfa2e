"""Which object has which code: frozen, drifted, retired, never reused."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_agent.errors import IdentifierError
from edge_agent.identify import lockfile
from edge_agent.identify.assign import Assignments
from edge_agent.identify.codec import Fault
from edge_agent.identify.lock import Drift, Entry, Status
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions, PointIdentity
from edge_agent.model import DeviceId, GatewayId, PointName
from edge_agent.testing.fakes import START_NS, FakeClock

SCHEMA = Path(__file__).parents[2] / "edge_agent/identify/schema/edge.id.v1.json"
PREFIX = "88.101.0042"
PRESS = DeviceIdentity(
    DeviceId("press-01"),
    labels={"asset": "A17", "serial": "SN-1"},
    points=(PointIdentity(PointName("temperature"), unit="degC", semantic_id="0173-1#02-AAO677#002"),),
)
LATHE = DeviceIdentity(DeviceId("lathe-02"), points=(PointIdentity(PointName("speed")),))


def site(*devices: DeviceIdentity, **changes: object) -> IdentifierOptions:
    options = IdentifierOptions(prefix=PREFIX, gateway=GatewayId("gw-01"), devices=devices or (PRESS, LATHE))
    return replace(options, **changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / lockfile.FILE_NAME


def opened(options: IdentifierOptions, path: Path, now_ns: int = START_NS) -> Assignments:
    return Assignments.open(options, path, clock=FakeClock(now_ns))


def freeze(codes: Assignments) -> None:
    asyncio.run(codes.freeze())


def frozen(options: IdentifierOptions, path: Path) -> Assignments:
    codes = opened(options, path)
    freeze(codes)
    return codes


def refused(options: IdentifierOptions, path: Path) -> IdentifierError:
    with pytest.raises(IdentifierError) as caught:
        opened(options, path)
    return caught.value


def test_gateway_devices_and_declared_points_get_codes_of_the_templates(path: Path) -> None:
    codes = opened(site(), path)
    assert codes.gateway_code() == f"{PREFIX}/GW.gw-01"
    assert codes.device_code(DeviceId("press-01")) == f"{PREFIX}/EQ.press-01"
    assert codes.device_code(DeviceId("nobody")) is None
    assert codes.lock["point/press-01/temperature"].handle == f"{PREFIX}/EQ.press-01.temperature"


def test_labels_fill_templates_and_an_explicit_suffix_wins(path: Path) -> None:
    explicit = replace(LATHE, suffix="EQ.LATHE")
    press = replace(PRESS, points=())
    codes = opened(site(press, explicit, device_template="EQ.{asset}"), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/EQ.A17"
    assert codes.device_code(LATHE.id) == f"{PREFIX}/EQ.LATHE"


def test_a_whole_handle_under_the_own_prefix_is_taken_as_it_was_made_elsewhere(path: Path) -> None:
    codes = opened(site(replace(PRESS, suffix=f"{PREFIX}/旧码/001")), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/旧码/001"


@pytest.mark.parametrize(
    ("options", "fault", "named"),
    [
        (site(prefix="88.000.1"), Fault.PLACEHOLDER_PREFIX, "prefix"),
        (site(prefix="88"), Fault.BAD_PREFIX, "prefix"),
        (site(replace(PRESS, suffix="88.999.1/EQ")), Fault.PREFIX_NOT_OWNED, "device/press-01"),
        (site(replace(PRESS, suffix="88.1/EQ")), Fault.BAD_PREFIX, "device/press-01"),
        (site(replace(PRESS, suffix="EQ/17")), Fault.BAD_SUFFIX_CHAR, "device/press-01"),
        (site(replace(PRESS, labels={"device": "x"}, points=())), Fault.BAD_TEMPLATE, "device/press-01"),
        (site(gateway_template="GW.{device}"), Fault.UNKNOWN_PLACEHOLDER, "gateway"),
        (site(PRESS, device_template="EQ 1"), Fault.BAD_TEMPLATE, "device/press-01"),
        (
            site(replace(PRESS, labels={"asset": "A 17"}, points=()), device_template="EQ.{asset}"),
            Fault.BAD_SUFFIX_CHAR,
            "device/press-01",
        ),
        (
            site(replace(PRESS, points=(PointIdentity(PointName("temperature_")),))),
            Fault.BAD_SUFFIX_CHAR,
            "point/press-01/temperature_",
        ),
    ],
)
def test_a_code_that_cannot_be_made_refuses_the_start(
    options: IdentifierOptions, fault: Fault, named: str, path: Path
) -> None:
    error = refused(options, path)
    assert error.code == fault
    assert named in str(error)
    assert not path.exists()


def test_a_placeholder_prefix_is_possible_where_it_is_allowed(path: Path) -> None:
    codes = opened(site(prefix="88.000.1", allow_placeholder=True), path)
    assert codes.gateway_code() == "88.000.1/GW.gw-01"
    assert "placeholder" in codes.plan.warnings[0]


def test_all_problems_are_told_at_once(path: Path) -> None:
    error = refused(site(replace(PRESS, suffix="a b"), replace(LATHE, suffix="c d")), path)
    assert error.code == Fault.SEVERAL
    assert "device/press-01" in str(error)
    assert "device/lathe-02" in str(error)


def test_two_objects_never_get_one_code_and_both_are_named(path: Path) -> None:
    error = refused(site(device_template="EQ.1"), path)
    assert error.code == Fault.NOT_UNIQUE
    assert "device/press-01" in str(error)
    assert "device/lathe-02" in str(error)


def test_two_codes_that_differ_only_in_case_are_one(path: Path) -> None:
    error = refused(site(replace(PRESS, suffix="EQ.x"), replace(LATHE, suffix="eq.X")), path)
    assert error.code == Fault.NOT_UNIQUE


def test_before_the_first_publish_codes_follow_the_templates(path: Path) -> None:
    opened(site(), path)
    codes = opened(site(device_template="DEV.{device}"), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/DEV.press-01"
    assert codes.drift() == []


def test_after_the_first_publish_a_changed_template_changes_nothing_and_is_reported(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frozen(site(), path)
    with caplog.at_level(logging.WARNING):
        codes = opened(site(device_template="DEV.{device}"), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/EQ.press-01"
    assert codes.drift() == [
        Drift("device/press-01", f"{PREFIX}/EQ.press-01", f"{PREFIX}/DEV.press-01"),
        Drift("device/lathe-02", f"{PREFIX}/EQ.lathe-02", f"{PREFIX}/DEV.lathe-02"),
    ]
    assert [record.message for record in caplog.records] == [
        "templates differ from frozen identifier codes; the frozen ones stay"
    ]


def test_a_new_prefix_does_not_move_codes_that_were_published(path: Path) -> None:
    frozen(site(PRESS), path)
    codes = opened(site(PRESS, LATHE, prefix="88.102.7"), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/EQ.press-01"
    assert codes.device_code(LATHE.id) == "88.102.7/EQ.lathe-02"


def test_a_removed_device_keeps_its_code_for_its_backlog_and_leaves_the_directory(path: Path) -> None:
    frozen(site(), path)
    codes = opened(site(LATHE), path)
    assert codes.device_code(PRESS.id) == f"{PREFIX}/EQ.press-01"
    assert lockfile.read(path)["device/press-01"].retired_at is not None
    assert list(codes.directory("t")["devices"]) == ["lathe-02"]  # type: ignore[call-overload]


def test_a_removed_device_that_was_never_published_leaves_nothing(path: Path) -> None:
    opened(site(), path)
    opened(site(LATHE), path)
    assert set(lockfile.read(path)) == {"gateway", "device/lathe-02", "point/lathe-02/speed"}


def test_the_code_of_a_removed_device_goes_to_nobody_else(path: Path) -> None:
    frozen(site(), path)
    error = refused(site(DeviceIdentity(DeviceId("press-02"), suffix="eq.PRESS-01")), path)
    assert error.code == Fault.NOT_UNIQUE
    assert "device/press-01" in str(error)
    assert "device/press-02" in str(error)


def test_a_device_that_returns_gets_its_old_code_and_its_first_day_back(path: Path) -> None:
    first = frozen(site(), path)
    opened(site(LATHE), path)
    codes = opened(site(PRESS, LATHE, device_template="N.{device}"), path, now_ns=START_NS + 10**18)
    assert codes.lock["device/press-01"] == first.lock["device/press-01"]
    assert lockfile.read(path)["device/press-01"].retired_at is None


def test_freezing_again_writes_nothing(path: Path) -> None:
    codes = frozen(site(), path)
    before = path.stat().st_ino, path.read_bytes()
    freeze(codes)
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_a_lock_file_removed_under_the_running_agent_comes_back(path: Path) -> None:
    frozen(site(), path)
    codes = frozen(site(device_template="DEV.{device}"), path)
    before = path.read_bytes()
    path.unlink()
    freeze(codes)
    assert path.read_bytes() == before


def test_freeze_takes_over_what_another_process_recorded_meanwhile(path: Path) -> None:
    codes = frozen(site(), path)
    lock = lockfile.read(path)
    told = replace(lock["device/press-01"], status=Status.REGISTERED, registered_at="2026-11-23T08:00:00Z")
    lockfile.write(path, {**lock, "device/press-01": told})
    freeze(codes)
    assert codes.lock["device/press-01"] == told
    assert lockfile.read(path)["device/press-01"] == told


def test_freeze_refuses_a_code_that_another_object_got_meanwhile(path: Path) -> None:
    codes = opened(site(PRESS), path)
    other = Entry(f"{PREFIX}/EQ.press-01", first_seen="2026-01-01T00:00:00Z", frozen_at="2026-01-01T00:00:00Z")
    lockfile.write(path, {"device/old": other})
    with pytest.raises(IdentifierError, match="device/old") as caught:
        freeze(codes)
    assert caught.value.code == Fault.NOT_UNIQUE
    assert list(lockfile.read(path)) == ["device/old"]


def test_a_disk_that_cannot_be_written_costs_a_warning_at_start_and_an_error_at_freeze(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    codes = opened(site(), path)
    assert [record.message for record in caplog.records] == ["identifier codes cannot be recorded now"]
    assert codes.gateway_code() == f"{PREFIX}/GW.gw-01"
    with pytest.raises(IdentifierError, match="No space left") as caught:
        freeze(codes)
    assert caught.value.code == Fault.LOCK_IO


def test_codes_that_are_frozen_already_need_no_disk_that_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen(site(), path)
    monkeypatch.setattr("edge_agent.identify.lockfile.guard", None)
    monkeypatch.setattr("edge_agent.identify.lockfile.write", None)
    assert frozen(site(), path).lock == lockfile.read(path)


def test_the_directory_says_what_the_reference_says(path: Path) -> None:
    codes = frozen(site(replace(LATHE, labels={"asset": "L"}), PRESS), path)
    lock = lockfile.read(path)
    told = replace(lock["device/press-01"], status=Status.REGISTERED, registered_at="2026-11-23T08:00:00Z")
    lockfile.write(path, {**lock, "device/press-01": told})
    freeze(codes)
    message = codes.directory("2026-11-23T08:00:00Z")
    assert message == {
        "schema": "edge.id.v1",
        "ts": "2026-11-23T08:00:00Z",
        "gateway": {"handle": f"{PREFIX}/GW.gw-01", "status": "draft"},
        "devices": {
            "lathe-02": {"handle": f"{PREFIX}/EQ.lathe-02", "status": "draft"},
            "press-01": {
                "handle": f"{PREFIX}/EQ.press-01",
                "status": "registered",
                "registeredAt": "2026-11-23T08:00:00Z",
                "alt": {"serial": "SN-1", "giai": None},
            },
        },
        "points": {
            "lathe-02/speed": {"handle": f"{PREFIX}/EQ.lathe-02.speed", "status": "draft"},
            "press-01/temperature": {
                "handle": f"{PREFIX}/EQ.press-01.temperature",
                "status": "draft",
                "semanticId": "0173-1#02-AAO677#002",
                "unit": "degC",
            },
        },
    }
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    validator.validate(message)
    assert not validator.is_valid({**message, "gateway": {"handle": "88.101.0042", "status": "draft"}})
    assert not validator.is_valid({**message, "points": {"press-01": {"handle": "88.101.1/x", "status": "draft"}}})


def test_the_directory_has_the_same_bytes_whatever_the_order_of_the_configuration(path: Path) -> None:
    frozen(site(PRESS, LATHE), path)
    one = (opened(site(PRESS, LATHE), path)).directory("t")
    other = (opened(site(LATHE, PRESS), path)).directory("t")
    assert json.dumps(one) == json.dumps(other)


def test_the_uri_that_a_machine_has_of_its_own_is_published_beside_the_code(path: Path) -> None:
    uri = "http://example.com/machines/lathe"
    codes = frozen(site(replace(LATHE, labels={"product_instance_uri": uri}), PRESS), path)
    message: Any = codes.directory("2026-11-23T08:00:00Z")
    assert message["devices"]["lathe-02"]["alt"] == {"serial": None, "giai": None, "productInstanceUri": uri}
    jsonschema.validate(message, json.loads(SCHEMA.read_text()))


def test_a_range_is_in_the_directory(path: Path) -> None:
    point = PointIdentity(PointName("speed"), unit="{rev}/min", range=(0.0, 9000.0))
    body = frozen(site(replace(LATHE, points=(point,))), path).directory("2026-11-23T08:00:00Z")
    jsonschema.validate(body, json.loads(SCHEMA.read_text()))
    points: Any = body["points"]
    assert points["lathe-02/speed"]["range"] == {"low": 0.0, "high": 9000.0}


def test_a_found_point_whose_code_another_one_has_goes_without_and_refuses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = replace(LATHE, points=(PointIdentity(PointName("speed"), is_found=True),))
    written = DeviceIdentity(DeviceId("mill-03"), points=(PointIdentity(PointName("speed")),))
    template = {"point_template": "PT.{point}"}
    codes = frozen(site(found, written, **template), path)
    assert [*codes.directory("now")["points"]] == ["mill-03/speed"]  # type: ignore[misc]
    assert "no code for a point that the device has: point/lathe-02/speed" in codes.plan.warnings[0]
    # the other one is removed, and its code is nobody else's all the same
    codes = frozen(site(found, **template), path)
    assert codes.directory("now")["points"] == {}
    assert "get no identifier code" in caplog.text
