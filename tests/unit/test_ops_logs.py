import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from edge_agent.ops import logs

LOGGER = logging.getLogger("edge_agent.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name, quiet_level in quiet.items():
        logging.getLogger(name).setLevel(quiet_level)


def test_off_a_terminal_each_record_is_one_json_object_per_line() -> None:
    stream = io.StringIO()
    logs.configure("auto", "info", stream=stream)
    LOGGER.warning("device\nlost", extra={"device": "press-01", "points": ("a", "b"), "for_s": 1.5, "up": False})
    LOGGER.info("second")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("ts").endswith("Z")
    assert first == {
        "level": "warning",
        "logger": "edge_agent.test",
        "message": "device\nlost",
        "device": "press-01",
        "points": ["a", "b"],
        "for_s": 1.5,
        "up": False,
    }
    assert second["message"] == "second"


def test_a_traceback_is_a_field_of_the_json_line() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        LOGGER.exception("driver is broken", extra={"traceback": "mine", "level": 3})
    (line,) = stream.getvalue().splitlines()
    body = json.loads(line)
    assert body["traceback"].endswith("ZeroDivisionError: integer division or modulo by zero")
    assert (body["traceback_"], body["level_"], body["level"]) == ("mine", 3, "error")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"\xff", {"a": {1}}, object(), {None: 1}])
def test_any_field_gives_valid_json(value: object) -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    LOGGER.info("odd", extra={"value": value})
    json.loads(stream.getvalue(), parse_constant=pytest.fail)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_secret_is_not_written(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream=stream)
    LOGGER.info("login", extra={"password": SecretStr("hunter2"), "all": {"p": [SecretStr("hunter2")]}})
    assert "hunter2" not in stream.getvalue()
    assert "****" in stream.getvalue()


def test_on_a_terminal_it_is_coloured_text() -> None:
    stream = Terminal()
    logs.configure("auto", "info", stream=stream)
    LOGGER.error("device lost", extra={"device": "press-01"})
    assert "\x1b[31merror" in stream.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    stream = Terminal()
    logs.configure("auto", "info", stream=stream)
    LOGGER.error("device lost")
    assert "\x1b" not in stream.getvalue()


def test_text_off_a_terminal_has_no_escape_codes_and_readable_fields() -> None:
    stream = io.StringIO()
    logs.configure("text", "info", stream=stream)
    LOGGER.warning("device lost", extra={"device": "press-01", "error": "no answer"})
    _, _, rest = stream.getvalue().partition(" ")
    assert rest == 'warning  device lost device=press-01 error="no answer"\n'


def test_what_a_peer_sent_can_neither_colour_nor_break_a_line_of_text() -> None:
    stream = io.StringIO()
    logs.configure("text", "info", stream=stream)
    LOGGER.warning("lost\x1b[2J", extra={"error": "a\n12:00:00 error forged \x1b[31m\u202e", "vendor": "一号车间"})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "vendor=一号车间" in text


def test_the_level_is_honoured() -> None:
    stream = io.StringIO()
    logs.configure("json", "warning", stream=stream)
    LOGGER.info("unheard")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    "name",
    ["pymodbus.logging", "asyncua.client.client", "asyncua.client.ua_client.UASocketProtocol", "paho.mqtt"],
)
def test_chatty_libraries_are_quiet_even_at_debug_level(name: str) -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger(name).warning("a frame of 20 lines")
    assert stream.getvalue() == ""


def test_configuring_again_replaces_the_first_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("json", "info", stream=first)
    logs.configure("json", "info", stream=second)
    LOGGER.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_in_the_journal_a_line_begins_with_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as lines:
        logs.configure("auto", "info", stream=stream)
        LOGGER.warning("device lost")
        prefix, _, body = lines.readline().partition(">")
    assert prefix == "<4"
    assert json.loads(body)["message"] == "device lost"
