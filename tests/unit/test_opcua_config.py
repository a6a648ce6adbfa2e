from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent_opcua.config import OpcUaDevice

POINTS = [{"name": "a", "node": "ns=2;i=5"}]
SECURE = {
    "security_policy": "Basic256Sha256",
    "certificate": "own.pem",
    "private_key": "own.key",
    "trusted": "/etc/edge-agent/trusted",
}
USER = {"user": "op", "password": "secret"}


def device(**keys: Any) -> OpcUaDevice:
    return OpcUaDevice.model_validate(
        {"id": "cnc", "driver": "opcua", "url": "opc.tcp://10.0.0.1", "points": POINTS} | keys
    )


def test_the_smallest_configuration_has_a_port_and_no_security() -> None:
    config = device()
    assert config.url == "opc.tcp://10.0.0.1:4840"
    assert config.security_policy.value == "None"
    assert config.session_timeout == 60


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("opc.tcp://cnc/path", "opc.tcp://cnc:4840/path"),
        ("opc.tcp://cnc:4841/path", "opc.tcp://cnc:4841/path"),
        ("opc.tcp://[fe80::1]", "opc.tcp://[fe80::1]:4840"),
        ("opc.tcp://cnc:", "opc.tcp://cnc:4840"),
    ],
)
def test_the_port_is_4840_unless_written(url: str, expected: str) -> None:
    assert device(url=url).url == expected


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"url": "http://cnc"}, "is not an OPC UA address"),
        ({"url": "opc.tcp://"}, "is not an OPC UA address"),
        ({"url": "opc.tcp://cnc:70000"}, "[Pp]ort"),
        ({"url": "opc.tcp://op:secret@cnc"}, "do not belong in the url"),
        ({"security_policy": "Basic128"}, "Basic256Sha256"),
        (SECURE | {"private_key": None}, "`certificate:` and `private_key:` go together"),
        (SECURE | {"user_certificate": "u.pem"}, "`user_certificate:` and `user_private_key:` go together"),
        (
            SECURE | USER | {"user_certificate": "u.pem", "user_private_key": "u.key"},
            "`user:` and `user_certificate:` are two ways to log in; write one",
        ),
        (
            {"user_certificate": "u.pem", "user_private_key": "u.key"},
            "user_certificate without `security_policy:`",
        ),
        ({"security_mode": "Sign"}, "security_mode without `security_policy:`"),
        (
            {"certificate": "own.pem", "private_key": "own.key"},
            "certificate, private_key without `security_policy:`",
        ),
        ({"trusted": "folder"}, "trusted without `security_policy:`"),
        ({"user": "op"}, "go together"),
        ({"password": "secret"}, "go together"),
        (USER, "connection that is not protected"),
        ({"mode": "push"}, "subscribe"),
        ({"points": [{"name": "a", "node": "DB1.x"}]}, "is not a node id"),
        ({"points": []}, "neither `points:` nor `browse:`"),
        ({"mode": "poll", "queue_size": 5}, "queue_size has no meaning: every point is polled"),
        (
            {"points": [{"name": "a", "node": "i=1", "mode": "poll", "sampling_interval": "1s"}]},
            "sampling_interval of a has no meaning in mode poll",
        ),
        ({"mode": "poll", "discard": "newest"}, "discard has no meaning: every point is polled"),
        (
            {"points": [{"name": "a", "node": "i=1", "mode": "poll", "trigger": "status"}]},
            "trigger of a has no meaning in mode poll",
        ),
        ({"check_interval": "1min"}, "check_interval has no meaning: no point is in mode both"),
        ({"trigger": "change"}, "timestamp"),
        ({"discard": "all"}, "newest"),
        ({"points": [{"name": "a", "node": "i=1", "server_deadband": {}}]}, "write `absolute:` or `percent:`"),
        (
            {"points": [{"name": "a", "node": "i=1", "server_deadband": {"absolute": 1.0, "percent": 1.0}}]},
            "write `absolute:` or `percent:`",
        ),
        (
            {"points": [{"name": f"p{i}", "node": "i=1", "publishing_interval": f"{i}s"} for i in range(1, 11)]},
            "write fewer than 10",
        ),
        ({"profile": "s7-1501"}, "did you mean"),
        ({"keep_alive": 5}, "no unit"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        device(**keys)


@pytest.mark.parametrize(
    "keys", [SECURE | USER, SECURE | USER | {"security_mode": "Sign"}, USER | {"insecure_password": True}]
)
def test_a_password_goes_over_a_policy_or_with_an_explicit_word(keys: dict[str, Any]) -> None:
    config = device(**keys)
    assert config.password is not None
    assert "secret" not in repr(config)


def test_trusted_is_a_folder_or_a_list_of_files() -> None:
    assert str(device(**SECURE).trusted) == "/etc/edge-agent/trusted"
    many = device(**SECURE | {"trusted": ["a.pem", "b.der"]}).trusted
    assert not isinstance(many, str)
    assert many is not None
    assert list(map(str, many)) == ["a.pem", "b.der"]  # type: ignore[arg-type]  # a list was written
