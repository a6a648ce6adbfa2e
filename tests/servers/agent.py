"""The agent as a process of its own: what a person would start, watch, stop and kill."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.servers.ports import free_port

EDGE_AGENT = Path(sys.executable).with_name("edge-agent")
UNDER = os.environ.get("EDGE_AGENT_UNDER", "").split()
"""What starts the agent instead of the shell, such as tests.servers.confined."""


class AgentProcess:
    """``edge-agent run`` on one configuration file in ``folder``; its log is kept there.

    Args:
        folder: gets the configuration, the log and, unless ``state`` is another one, the state.
        yaml: the configuration, less where to keep state and where to be watched.
        commit_interval: of the outbox.
        outbox: further keys of the outbox in flow style, such as ``max_size: 4MiB``.
        state: the state directory.
        environment: set for the process besides what this one has.
        ops_keys: further keys of ops in flow style.
    """

    def __init__(
        self,
        folder: Path,
        yaml: str,
        commit_interval: str = "200ms",
        *,
        outbox: str = "",
        state: Path | None = None,
        environment: dict[str, str] | None = None,
        ops_keys: str = "",
    ) -> None:
        self.folder = folder
        self.commit_interval = commit_interval
        self.outbox = outbox
        self.ops_keys = ops_keys
        self.ops = f"127.0.0.1:{free_port()}"
        self.state = state or folder / "state"
        self.log = folder / "agent.log"
        self.config = folder / "agent.yaml"
        self.write(yaml)
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = dict(environment or {})
        self.token = ""
        self.trusting: ssl.SSLContext | None = None  # for HTTPS

    def write(self, yaml: str) -> None:
        """Write the configuration ``yaml``; where to keep state and where to be watched is added here."""
        self.yaml = yaml
        keys = f"directory: {self.state}, commit_interval: {self.commit_interval}"
        places = (
            f"outbox: {{{keys}{self.outbox and ', '}{self.outbox}}}\n"
            f"ops: {{http: '{self.ops}', control_socket: {self.folder}/control.sock"
            f"{self.ops_keys and ', '}{self.ops_keys}}}\n"
        )
        self.config.write_text(places + yaml)

    def start(self, within_s: float = 30.0, around: Sequence[str] = ()) -> None:
        """Start and wait until it is ready; ``around`` is a command that becomes the agent."""
        with self.log.open("ab") as sink:
            environment = os.environ | self.environment
            command = [*UNDER, *around, str(EDGE_AGENT), "run", str(self.config)]
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            assert self.process.poll() is None, f"the agent ended: {self.log.read_text()}"
            try:
                self._get("readyz")
            except OSError:
                time.sleep(0.05)
            else:
                assert not UNDER or "Seccomp:\t2" in Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
                return
        raise AssertionError(f"not ready within {within_s} s: {self.log.read_text()}")

    def kill(self) -> None:
        """End it at once, as a power switch would end the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, within_s: float = 20.0) -> int:
        """Ask it to stop, as systemd would; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within_s)

    def status(self) -> dict[str, object]:
        """Return ``/status``."""
        answer: dict[str, object] = json.loads(self._get("status"))
        return answer

    def metrics(self) -> dict[str, float]:
        """Return each sample summed over its labels; histogram buckets are ``name|le``."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self._get("metrics")):
            for sample in family.samples:
                name = sample.name + (f"|{sample.labels['le']}" if "le" in sample.labels else "")
                sums[name] = sums.get(name, 0.0) + sample.value
        return sums

    def _get(self, page: str) -> str:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        scheme = "http" if self.trusting is None else "https"
        request = urllib.request.Request(f"{scheme}://{self.ops}/{page}", headers=headers)  # noqa: S310 - no file
        with urllib.request.urlopen(request, timeout=10, context=self.trusting) as reply:  # noqa: S310 - as above
            text: str = reply.read().decode()
            return text


@contextmanager
def agent(folder: Path, yaml: str, commit_interval: str = "200ms") -> Iterator[AgentProcess]:
    """Run the agent; on leaving it is stopped if it still runs."""
    one = AgentProcess(folder, yaml, commit_interval)
    one.start()
    try:
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.stop()
