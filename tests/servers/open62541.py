"""A server in C, open62541, for tests: in a process of its own, by a Python of its own (see ``install.sh``)."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PYTHON = _ROOT / ".build" / "open62541" / "bin" / "python"
_SCRIPT = Path(__file__).resolve().parent / "opcua" / "open62541.py"


@contextmanager
def open62541_server(floats: int = 0, *, port: int = 0) -> Iterator[int]:
    """Serve while the block runs; yield the port. What it serves: ``opcua/open62541.py``.

    When the block ends the process is killed, as a power cut would.
    """
    process = subprocess.Popen(
        [_PYTHON, _SCRIPT, str(floats), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        try:
            told = next((line for line in process.stdout if line.startswith(b"{")), b"")
            assert told, "the server did not start"
            yield int(json.loads(told)["port"])
        finally:
            process.kill()
