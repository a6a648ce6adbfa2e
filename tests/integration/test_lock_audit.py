"""The audit of the lock, with the real pip-audit: what could not be looked up is never a pass."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.servers.ports import free_port

LOCK = (
    "sound==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\nFlawed.Name==2.0 \\\n    --hash=sha256:" + "1" * 64 + "\n"
)
FLAW = {
    "id": "EX-2026-1",
    "summary": "an example",
    "affected": [{"package": {"name": "flawed-name", "ecosystem": "PyPI"}, "ranges": [], "versions": ["2.0"]}],
}


@contextmanager
def osv(*, flawed: str = "", status: int = 200) -> Iterator[str]:
    """An advisory source that speaks OSV's protocol; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            vulns = [FLAW] if body["package"]["name"] == flawed else []
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"vulns": vulns}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def audit(lock: Path, *options: str) -> tuple[int, str]:
    nowhere = f"http://127.0.0.1:{free_port()}"
    environ = os.environ | {"HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "tests.lock_audit", str(lock), "--cache-dir", str(lock.parent), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


def test_a_lock_without_known_flaws_passes(lock: Path) -> None:
    with osv() as url:
        assert audit(lock, "-s", "osv", "--osv-url", url) == (0, "2 locked packages, no known vulnerability\n")


def test_a_known_flaw_fails_with_its_name(lock: Path) -> None:
    with osv(flawed="flawed-name") as url:
        code, text = audit(lock, "-s", "osv", "--osv-url", url)
    assert (code, text) == (1, "flawed-name 2.0: EX-2026-1, fixed in no release\n")


def test_without_a_network_it_could_not_audit(lock: Path) -> None:
    code, text = audit(lock)
    assert (code, text.startswith("could not audit: ")) == (2, True)


def test_a_source_that_fails_could_not_audit(lock: Path) -> None:
    with osv(status=500) as url:
        code, text = audit(lock, "-s", "osv", "--osv-url", url)
    assert (code, text.startswith("could not audit: ")) == (2, True)


@pytest.mark.parametrize("content", [None, "", "# nothing is pinned here\n", "sound>=1.0\n"])
def test_a_lock_that_locks_nothing_could_not_be_audited(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "requirements.lock"
    if content is not None:
        path.write_text(content)
    code, text = audit(path)
    assert (code, text.startswith("could not audit: ")) == (2, True)
