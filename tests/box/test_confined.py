"""The agent under the system calls that its unit allows, and without memory that is written and executed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.confined import allowed

pytestmark = [pytest.mark.box, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
CORE = tuple(f"tests/e2e/test_{name}.py" for name in ("spine", "reload", "renewal", "opcua_outage"))


def confined(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.servers.confined", sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_list_is_the_one_of_the_unit() -> None:
    names = allowed()
    assert {"read", "epoll_wait", "fdatasync", "adjtimex"} <= names
    assert not {"ptrace", "mount", "reboot", "setuid", "sched_setaffinity"} & names


def test_what_it_does_not_allow_is_refused() -> None:
    done = confined("import os, mmap; os.nice(1)")
    assert "PermissionError" in done.stderr
    done = confined("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)")
    assert "PermissionError" in done.stderr
    assert confined("print('runs')").stdout == "runs\n"


def test_the_core_works_under_it() -> None:
    under = f"{sys.executable} -m tests.servers.confined"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            *CORE,
            "-k",
            "not 30_s and not 500_devices and not killed",
        ],
        cwd=ROOT,
        env=os.environ | {"EDGE_AGENT_UNDER": under, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"^1\d passed", done.stdout, re.MULTILINE), done.stdout
