"""The installed unit under a real systemd: starts, is watched, comes back, stays down, reloads, stops."""

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.root import Box, box, until
from tests.e2e.plant import head_yaml, lasting_broker, modbus_yaml
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import free_port
from tests.servers.subscriber import Subscriber

pytestmark = [pytest.mark.box, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
UNIT = "edge-agent.service"
# As `systemctl edit edge-agent` would write it; times are shorter, so that nobody waits for minutes.
DROP_IN = """[Service]
LoadCredential=mqtt-password:/etc/edge-agent/mqtt-password
RestartSec=1
WatchdogSec=4
"""
STUCK = "  - {id: stuck-01, driver: stuck, points: [{name: anything}]}\ndrivers_path: [/etc/edge-agent/drivers]\n"
STUCK_DRIVER = """
import os, pathlib, time
from edge_agent.driver import API, DeviceModel, DriverSpec, PointModel
from edge_agent.errors import PointRejectedError

class Device(DeviceModel):
    points: list[PointModel]

def create(context, config):
    once = pathlib.Path(os.environ["STATE_DIRECTORY"], "was-stuck")
    if not once.exists():
        once.touch()
        time.sleep(3600)
    raise PointRejectedError("not stuck any more")

DRIVER = DriverSpec(protocol="stuck", api=API, config_model=Device, create=create, title="blocks the loop, once")
"""


class Service:
    """The agent as a service in a Debian of its own; a broker and a PLC stand outside."""

    def __init__(self, debian: Box, broker: Mosquitto, received: Subscriber, plc_port: int) -> None:
        self._debian = debian
        self._received = received
        self.broker = broker
        self.head = f"ops: {{http: '127.0.0.1:{free_port()}'}}\n" + head_yaml(broker).replace(
            "    retry_max", "    username: gw\n    password: !credential mqtt-password\n    retry_max"
        )
        self.plc_port = plc_port

    def write(self, path: str, text: str) -> None:
        """Write a file as root would that lets the agent read it."""
        file = self._debian.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o644)

    def configure(self, *, units: int = 1, more: str = "") -> None:
        """Write the configuration with so many machines."""
        self.write("etc/edge-agent/edge-agent.yaml", self.head + modbus_yaml(self.plc_port, units=units) + more)

    def systemctl(self, *words: str, is_checked: bool = True) -> str:
        return self._debian.run("systemctl", *words, is_checked=is_checked)

    def show(self, what: str) -> str:
        return self.systemctl("show", "--value", f"--property={what}", UNIT).strip()

    def journal(self) -> str:
        return self._debian.run("journalctl", "--no-pager", "--output=cat", "--unit", UNIT)

    def inside(self, *command: str) -> str:
        return self._debian.run(*command)

    @property
    def state(self) -> Path:
        return self._debian.root / "var/lib/private/edge-agent"

    def rows(self) -> set[tuple[str, int]]:
        """Return epoch and number of each row that arrived."""
        told = [message.json() for message in self._received.on("/data")]
        return {(message["epoch"], row["row"]) for message in told for row in message["rows"]}

    def missing(self) -> set[int]:
        """Return the rows between the first and the last that did not arrive."""
        numbers = {number for _, number in self.rows()}
        return set(range(min(numbers), max(numbers))) - numbers

    def devices(self) -> set[str]:
        return {message.json()["device"] for message in self._received.on("/data")}

    def delivers(self) -> None:
        """Wait until a further row arrives."""
        before = len(self.rows())
        until(lambda: len(self.rows()) > before, lambda: f"a row arrives:\n{self.journal()[-4000:]}")

    def value(self, device: str, point: str) -> float:
        """Return the last good value of a point that arrived; NaN without one."""
        told = [message.json() for message in self._received.on("/data") if message.json()["device"] == device]
        columns = (row["points"].get(point, {"v": []}) for message in told for row in message["rows"])
        found = [value for column in columns for value in column["v"] if value is not None]
        return found[-1] if found else math.nan

    def is_restarted_since(self, pid: str) -> bool:
        return self.show("ActiveState") == "active" and self.show("MainPID") not in {pid, "0"}


@pytest.fixture(scope="module")
def installed(packages: tuple[Path, Path]) -> Iterator[Service]:
    with box() as debian, libmodbus_server() as plc, lasting_broker() as (broker, received):
        package = debian.root / "root" / packages[1].name
        package.write_bytes(packages[1].read_bytes())
        debian.run("dpkg", "-i", f"/root/{package.name}")
        service = Service(debian, broker, received, plc.port)
        service.write("etc/edge-agent/drivers/edge_agent_stuck/__init__.py", STUCK_DRIVER)
        service.write(f"etc/systemd/system/{UNIT}.d/override.conf", DROP_IN)
        service.write("etc/edge-agent/mqtt-password", "s3cret\n")
        service.inside("chmod", "600", "/etc/edge-agent/mqtt-password")  # systemd reads it, the agent cannot
        service.systemctl("daemon-reload")
        yield service


def test_the_steps_of_the_installation_guide_start_a_service(packages: tuple[Path, Path]) -> None:
    guide = (ROOT / "docs" / "install.md").read_text("utf-8")
    steps = [line[2:].replace("sudo ", "") for line in guide.splitlines() if line.startswith("$ sudo ")]
    first = next(number for number, step in enumerate(steps) if step.startswith("cp "))
    last = next(number for number, step in enumerate(steps) if step.startswith("systemctl enable"))
    with box() as debian:
        (debian.root / "root" / packages[1].name).write_bytes(packages[1].read_bytes())
        debian.run("dpkg", "-i", f"/root/{packages[1].name}")
        for step in steps[first : last + 1]:
            debian.run("sh", "-e", "-c", step)
        assert debian.run("systemctl", "is-active", "edge-agent").strip() == "active"
        assert "press-01" in debian.run("edge-agent", "status")


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """Return the service, running with one machine; afterwards it is stopped."""
    installed.configure()
    installed.systemctl("start", UNIT)
    yield installed
    installed.systemctl("stop", UNIT)
    installed.systemctl("reset-failed", UNIT, is_checked=False)


def test_start_returns_when_the_agent_is_ready_and_its_readings_arrive(service: Service) -> None:
    assert service.show("ActiveState") == "active"
    until(
        lambda: service.show("StatusText") == "1/1 devices online, 1/1 publishers connected",
        lambda: service.show("StatusText"),
    )
    service.delivers()


def test_it_may_do_nothing_but_its_work(service: Service) -> None:
    pid = service.show("MainPID")
    lines = service.inside("cat", f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(status["Uid"].split("\t")[0]) != 0
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")  # proc(5): 2 = a filter


def test_a_serial_port_of_the_dialout_group_is_read_and_no_other_is(installed: Service) -> None:
    serial = "    unit: 3\n    retry_max: 1s\n    serial: {port: %s, baud_rate: 115200}\n"
    point = "    points: [{name: voltage, holding: 9, type: float32, unit: V}]\n"
    meters = "".join(
        f"  - id: {name}\n    driver: modbus\n{serial % f'/run/line-{name}'}{point}"
        for name in ("mine", "foreign")
    )
    installed.write("root/lines.yaml", f"devices:\n{meters}")
    installed.inside("systemd-run", "--unit=lines", "edge-agent", "simulate", "/root/lines.yaml")
    for name, group in (("mine", "dialout"), ("foreign", "tty")):
        until(lambda: installed.inside("readlink", "-f", f"/run/line-{name}").startswith("/dev/pts"), str)  # noqa: B023
        # As udev gives /dev/ttyUSB0 to the group dialout.
        installed.inside(
            "sh", "-c", f"chgrp {group} $(readlink -f /run/line-{name}) && chmod 660 /run/line-{name}"
        )
    installed.configure(more=meters)
    installed.systemctl("start", UNIT)
    until(lambda: re.search(r"foreign.*dialout", installed.inside("edge-agent", "status")), installed.journal)
    until(lambda: 100 < installed.value("mine", "voltage") < 300, installed.journal)
    assert math.isnan(installed.value("foreign", "voltage"))
    installed.systemctl("stop", UNIT, "lines")


def test_a_kill_costs_nothing_that_was_committed(service: Service) -> None:
    service.delivers()
    service.broker.stop()  # from here on readings can only be kept
    stopped_s = time.monotonic()
    until(lambda: time.monotonic() - stopped_s > 3, lambda: "a backlog")
    pid = service.show("MainPID")
    service.systemctl("kill", "--signal=KILL", UNIT)
    until(lambda: service.is_restarted_since(pid), service.journal)
    assert service.show("NRestarts") == "1"
    before = len(service.rows())
    service.broker.start()
    until(lambda: len(service.rows()) > before + 3, service.journal)
    # One machine with one class of points: a committed row that did not arrive is a gap.
    until(lambda: not service.missing(), lambda: f"these rows arrive: {service.missing()}")
    assert len({epoch for epoch, _ in service.rows()}) == 1  # it went on with the outbox that it had


def test_a_stuck_loop_is_noticed_and_the_agent_started_anew(installed: Service) -> None:
    installed.configure(more=STUCK)
    installed.systemctl("start", UNIT)
    pid = installed.show("MainPID")
    until(lambda: installed.is_restarted_since(pid), installed.journal)
    assert "Watchdog timeout" in installed.journal()
    installed.delivers()
    installed.systemctl("stop", UNIT)


def test_a_bad_configuration_stays_down_with_78(installed: Service) -> None:
    installed.configure(
        more="  - {id: broken, driver: modbus, host: 127.0.0.1, intervall: 1s, points: [{name: p, holding: 0}]}\n"
    )
    installed.systemctl("start", UNIT, is_checked=False)
    began_s = time.monotonic()
    until(lambda: time.monotonic() - began_s > 3, lambda: "three times what it waits before a restart")
    assert (installed.show("ActiveState"), installed.show("ExecMainStatus")) == ("failed", "78")
    assert installed.show("NRestarts") == "0"
    assert "did you mean 'interval'?" in installed.journal()
    installed.systemctl("reset-failed", UNIT)


def test_a_reload_adds_a_machine_and_a_broken_one_changes_nothing(service: Service) -> None:
    pid = service.show("MainPID")
    service.configure(units=2)
    service.systemctl("reload", UNIT)
    until(lambda: "press-2" in service.devices(), service.journal)
    service.configure(more="nonsense: true\n")
    assert "failed" in service.systemctl("reload", UNIT, is_checked=False).lower()
    service.delivers()
    assert service.show("MainPID") == pid


def test_stop_is_clean(service: Service) -> None:
    service.delivers()
    service.systemctl("stop", UNIT)
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert (service.state / "outbox.db").exists()
    assert not (service.state / "outbox.db-wal").exists()  # committed, and taken into the file
    until(
        lambda: "Received DISCONNECT from gw-e2e" in service.broker.log.read_text(), service.broker.log.read_text
    )
