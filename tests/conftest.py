"""What holds for every test: nothing blocks the loop, nothing is left behind, warnings are errors."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.servers.ports import free_port

settings.register_profile("chaos", max_examples=1_000)
settings.register_profile("nightly", max_examples=20_000)


@pytest.fixture(autouse=True)
def no_blocking_call_on_the_loop() -> Iterator[None]:
    """A call of ours that blocks the event loop fails the test."""
    with blockbuster_ctx("edge_agent"):
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a path short enough for a Unix socket."""
    with TemporaryDirectory(prefix="ea", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a port that stays free while others connect; pytest-asyncio's may be given to one of them."""
    return free_port()


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """Threads that a test started are gone when it ends."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith(("asyncio_", "pytest")) or not thread.is_alive():
            continue
        thread.join(timeout=5)
        assert not thread.is_alive(), f"thread left behind: {thread.name}"


@pytest.fixture(autouse=True)
def log_records_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log record whose arguments do not fit its message fails the test."""

    def fail(_handler: logging.Handler, record: logging.LogRecord) -> None:
        raise AssertionError(f"log record does not format: {record.msg!r} {record.args!r}")

    monkeypatch.setattr(logging.Handler, "handleError", fail)


@pytest.fixture
async def no_task_left_behind() -> object:
    """Ask for it where tasks are made outside the code under test."""
    before = asyncio.all_tasks()
    yield None
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not left, f"tasks left behind: {left}"
