"""The demo as a person starts it."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

KEYS = {
    "collected", "committed", "published", "acknowledged", "received", "duplicated", "lost", "devices", "codes",
}  # fmt: skip
CODES = 8  # the gateway, three devices, four declared points


def demo(arguments: str = "", before: str = "") -> list[str]:
    script = f"import sys\nfrom edge_agent.demo import run_demo\n{before}\nsys.exit(run_demo({arguments}))"
    return [sys.executable, "-c", script]


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """Where temporary files can be counted."""
    return os.environ | {"TMPDIR": str(folder)}


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with mosquitto() as running:
        yield running


def run_demo(environment: dict[str, str], arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(arguments, before), capture_output=True, text=True, timeout=90, check=False, env=environment
    )


def result_of(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    [line] = run.stdout.splitlines()
    numbers: dict[str, int] = json.loads(line)
    assert set(numbers) == KEYS
    return numbers


def assert_everything_arrived(numbers: dict[str, int]) -> None:
    assert numbers["received"] == numbers["acknowledged"] == numbers["committed"] > 100
    assert numbers["published"] >= numbers["acknowledged"]
    assert numbers["collected"] >= numbers["committed"]
    assert (numbers["lost"], numbers["devices"], numbers["codes"]) == (0, 3, CODES)


def test_eight_seconds_lose_nothing_and_leave_nothing_behind(environment: dict[str, str], folder: Path) -> None:
    run = run_demo(environment, "8, True")
    assert run.returncode == 0, run.stderr
    numbers = result_of(run)
    assert_everything_arrived(numbers)
    assert numbers["duplicated"] == 0
    records = [json.loads(line) for line in run.stderr.splitlines()]
    # Whether the machine's clock is set is the machine's affair.
    told = [record for record in records if "set up NTP" not in record["message"]]
    assert [record for record in told if record["level"] not in {"debug", "info"}] == []
    assert list(folder.iterdir()) == []


def test_with_a_broker_of_ones_own_nothing_is_lost_and_nothing_stays_retained(
    environment: dict[str, str], broker: Mosquitto
) -> None:
    run = run_demo(environment, f"4, True, 'mqtt://127.0.0.1:{broker.port}'")
    assert run.returncode == 0, run.stderr
    assert_everything_arrived(result_of(run))
    assert retained_topics(broker.port) == []


def retained_topics(port: int) -> list[str]:
    found: list[str] = []
    is_answered = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: (
        is_answered.set() if message.topic == "end" else found.append(message.topic)
    )
    client.on_subscribe = lambda client, *_: client.publish("end", b"", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("#", qos=1)
    assert is_answered.wait(10)
    client.disconnect()
    client.loop_stop()
    return found


def test_a_broker_that_goes_away_for_good_is_told_as_loss_with_exit_code_1(
    environment: dict[str, str], broker: Mosquitto
) -> None:
    with subprocess.Popen(
        demo(f"5, True, 'mqtt://127.0.0.1:{broker.port}'", before="import edge_agent.demo.run; "
             "edge_agent.demo.run.DRAIN_TIMEOUT_S = edge_agent.demo.run.RECEIVE_TIMEOUT_S = 0.5"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "device online" in line:
                break
        broker.kill()
        output, errors = process.communicate(timeout=60)
    numbers = result_of(subprocess.CompletedProcess([], process.returncode, output, errors))
    assert process.returncode == 1
    assert numbers["lost"] == numbers["committed"] - numbers["received"] > 0
    assert "did not acknowledge everything in time" in errors


def test_ctrl_c_ends_it_in_order_with_a_summary(environment: dict[str, str]) -> None:
    with subprocess.Popen(demo(), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [next(process.stdout), next(process.stdout)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert all(" s  collected " in line for line in lines)
    assert "every reading that was on disk arrived" in rest
    assert [row.split()[1] for row in rest.splitlines() if row.strip().startswith("lost")] == ["0"]


def test_no_process_outlives_a_demo_that_is_killed(environment: dict[str, str]) -> None:
    with psutil.Popen(demo(), stdout=subprocess.PIPE, text=True, env=environment) as process:
        process.stdout.readline()
        children = process.children()
        assert len(children) == 3
        process.kill()
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_on_a_terminal_it_is_a_table_on_the_alternate_screen(
    environment: dict[str, str], width: int, height: int
) -> None:
    parent, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    # Test runners set COLUMNS for their own terminal.
    seen = {key: value for key, value in environment.items() if key not in {"COLUMNS", "LINES"}}
    seen["TERM"] = "xterm-256color"
    with subprocess.Popen(demo("2"), stdout=terminal, stderr=terminal, stdin=terminal, env=seen) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(parent):
            shown += chunk
    os.close(parent)
    assert process.returncode == 0
    table, _, after = shown.decode().partition("\x1b[?1049l")
    assert "\x1b[?1049h" in table
    assert all(text in table for text in ("cnc-01", "meter-01", "press-01", "spindle_speed", "r/min", "GOOD"))
    assert ("88.000.0001/EQ.cnc-01.spindle_speed" in table) == (width >= 120)
    assert "every reading that was on disk arrived" in after


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the last one who had the other end is gone
        return b""


def test_a_broker_url_that_it_cannot_use_is_wrong_usage(environment: dict[str, str]) -> None:
    run = run_demo(environment, "1, False, 'broker.example'")
    assert (run.returncode, run.stdout) == (2, "")
    assert "write mqtt://host:port" in run.stderr


def test_a_broker_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    port = free_port()
    run = run_demo(environment, f"1, True, 'mqtt://127.0.0.1:{port}'")
    assert (run.returncode, run.stdout) == (1, "")
    assert f"no broker answers at 127.0.0.1:{port}" in run.stderr
    assert "Traceback" not in run.stderr
