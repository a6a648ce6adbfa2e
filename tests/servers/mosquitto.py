"""Debian's Mosquitto on a free loopback port."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """Certificate files of the broker; clients must show one of their own if ``wants_client`` is set."""

    ca: Path
    certificate: Path
    key: Path
    wants_client: bool = False


@dataclass(slots=True)
class Mosquitto:
    """A broker that can be stopped and started again on the same port."""

    port: int
    directory: Path
    log: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.log = self.directory / "mosquitto.log"

    def start(self, *, within_s: float = 10.0) -> None:
        """Start and return when it accepts connections."""
        log = self.log.open("ab")
        with log:
            command = ["mosquitto", "-c", str(self.directory / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        end_s = time.monotonic() + within_s
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(f"Mosquitto did not start: {self.log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End in order; silent if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End at once."""
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Read the access rules and passwords again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
            self._process = None


@contextlib.contextmanager
def mosquitto(
    *,
    tls: BrokerTls | None = None,
    passwords: dict[str, str] | None = None,
    acl: str = "",
    options: str = "",
    is_started: bool = True,
) -> Iterator[Mosquitto]:
    """Run a broker without persistence, so that nothing but the agent remembers.

    Args:
        tls: plain TCP if None.
        passwords: by user; anybody may connect if None.
        acl: text of an access control file.
        options: further lines of its configuration.
        is_started: false = the caller starts it.
    """
    if shutil.which("mosquitto") is None:
        raise AssertionError("Mosquitto is not installed: apt-get install mosquitto mosquitto-clients")
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as name:
        directory = Path(name)
        port = free_port()
        lines = [f"listener {port} 127.0.0.1", "user root", "persistence false", "log_type all", options]
        lines.append(f"allow_anonymous {'false' if passwords else 'true'}")
        if tls is not None:
            lines += [f"cafile {tls.ca}", f"certfile {tls.certificate}", f"keyfile {tls.key}"]
            lines.append(f"require_certificate {'true' if tls.wants_client else 'false'}")
        if passwords:
            lines.append(f"password_file {_password_file(directory, passwords)}")
        if acl:
            (directory / "acl").write_text(acl)
            lines.append(f"acl_file {directory / 'acl'}")
        (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        broker = Mosquitto(port, directory)
        try:
            if is_started:
                broker.start()
            yield broker
        finally:
            broker.kill()


def _password_file(directory: Path, passwords: dict[str, str]) -> Path:
    path = directory / "passwords"
    path.touch(mode=0o600)
    for user, password in passwords.items():
        subprocess.run(["mosquitto_passwd", "-b", str(path), user, password], check=True)
    return path
