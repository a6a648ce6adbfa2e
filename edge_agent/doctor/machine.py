"""The machine: its clock, its disk, its software. Everything here blocks."""

import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge_agent import __version__
from edge_agent.clock import System
from edge_agent.doctor.finding import Finding, fail, ok, warn
from edge_agent.errors import OutboxError
from edge_agent.outbox.directory import machine_name
from edge_agent.outbox.inspect import status
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.store import FILE_NAME

SYNCS = 20
SLOW_SYNC_S, TOO_SLOW_SYNC_S = 0.1, 1.0
RTC_OFF_S = 300
OLDEST_SQLITE = (3, 40)
_MIB = 1024 * 1024
_VOLATILE = frozenset({"tmpfs", "ramfs"})


def machine(*, rtc: Path = Path("/sys/class/rtc/rtc0")) -> Iterator[Finding]:
    """Yield what holds for any configuration."""
    yield _versions()
    yield _clock()
    yield _rtc(rtc)
    if machine_name():
        yield ok("machine-id", "there")
    else:
        yield warn(
            "machine-id",
            "/etc/machine-id is missing or empty: a cloned disk would not be noticed",
            "systemd-machine-id-setup",
        )
    yield from _unit()


def state_directory(options: OutboxOptions) -> Iterator[Finding]:
    """Yield whether readings are safe there: rights, kind of disk, time of a sync, space."""
    directory = options.directory
    try:
        is_there = directory.is_dir()
    except OSError as exc:
        yield fail("state directory", f"{directory} cannot be looked at: {exc.strerror}", "run this with sudo")
        return
    if not is_there:
        yield warn("state directory", f"{directory} is not there yet", "start the agent once, or make it")
        return
    kind = _kind_of(directory)
    if kind in _VOLATILE:
        yield fail(
            "state directory",
            f"{directory} is in memory ({kind}): every reading is lost with the power",
            "put outbox.directory on a disk",
        )
    try:
        times_s = _sync_times_s(directory)
    except OSError as exc:
        yield fail(
            "state directory",
            f"{directory} cannot be written: {exc.strerror}",
            "run this with sudo; if it stays, see `mount` and the owner of the directory",
        )
    else:
        yield _sync(directory, kind, times_s)
    yield _space(options)
    yield from _origin(directory)


def _origin(directory: Path) -> Iterator[Finding]:
    """Yield whether the outbox was written by this machine, as far as anybody can say."""
    with suppress(OutboxError):
        written_by = status(directory / FILE_NAME)["machine"]
        if written_by and machine_name() and written_by != machine_name():
            yield warn(
                "outbox",
                "it comes from another machine: a cloned or moved disk",
                "start the agent: it begins a new epoch. Of a clone, delete drivers/*/own before, and give the "
                "gateway an id of its own",
            )


def _versions() -> Finding:
    found = f"edge-agent {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return fail("versions", found, "SQLite 3.40 or newer is needed: Debian 12, Ubuntu 24.04")
    return ok("versions", f"{found}, {platform.machine()}, Linux {platform.release()}")


def _clock() -> Finding:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if System().is_synced():
        return ok("clock", f"{now}, set from outside")
    return warn(
        "clock",
        f"{now}, and nothing has set it since the start",
        "timedatectl set-ntp true; name a time server of the plant in /etc/systemd/timesyncd.conf",
    )


def _rtc(rtc: Path) -> Finding:
    try:
        seconds = int((rtc / "since_epoch").read_text())
    except (OSError, ValueError):
        return warn(
            "battery clock",
            "none: after a power cut without a network, times are corrected later",
            "let the box reach a time server, or fit one",
        )
    off_s = abs(seconds - time.time())
    if off_s > RTC_OFF_S:
        return warn("battery clock", f"{off_s:.0f} s off", "hwclock --systohc, and see its battery")
    return ok("battery clock", f"{off_s:.0f} s off")


def _unit() -> Iterator[Finding]:
    if not Path("/run/systemd/system").is_dir():
        return
    command = ["systemctl", "show", "edge-agent", "--property=LoadState,ActiveState,SubState,NRestarts,Result"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed
    except (OSError, subprocess.TimeoutExpired):
        return
    shown = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    if shown.get("LoadState") != "loaded":
        yield warn("systemd unit", "edge-agent.service is not installed", "install the package, or systemd/")
        return
    found = f"{shown.get('ActiveState')} ({shown.get('SubState')}), restarted {shown.get('NRestarts')} times"
    if shown.get("ActiveState") == "active":
        yield ok("systemd unit", found)
    elif shown.get("ActiveState") == "failed":
        yield fail("systemd unit", f"{found}, {shown.get('Result')}", "journalctl -u edge-agent -n 50")
    else:
        yield warn("systemd unit", found, "systemctl enable --now edge-agent")


def _kind_of(directory: Path) -> str:
    """Return the file system that the directory is on."""
    real, best, kind = directory.resolve(), Path(), ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, name, *_ = line.split()
        mount = Path(where.replace("\\040", " "))
        if real.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, name
    return kind


def _sync_times_s(directory: Path) -> list[float]:
    times_s = []
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".doctor-") as file:
        for _ in range(SYNCS):
            file.write(os.urandom(4096))
            file.flush()
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            times_s.append(time.perf_counter() - began_s)
    return sorted(times_s)


def _sync(directory: Path, kind: str, times_s: list[float]) -> Finding:
    median_s, worst_s = times_s[len(times_s) // 2], times_s[-1]
    found = f"{directory} on {kind}: a sync takes {median_s * 1e3:.1f} ms, at worst {worst_s * 1e3:.0f} ms"
    if median_s > TOO_SLOW_SYNC_S:
        return fail("state directory", found, "the disk is worn out or overloaded: replace it, see dmesg")
    if median_s > SLOW_SYNC_S:
        return warn("state directory", found, "a longer outbox.commit_interval, or a faster disk")
    return ok("state directory", found)


def _space(options: OutboxOptions) -> Finding:
    free_bytes = shutil.disk_usage(options.directory).free
    used_bytes = sum(file.stat().st_size for file in options.directory.glob("outbox.db*"))
    may_grow_bytes = max(0, free_bytes - options.reserve_bytes)
    free, used, limit = (count // _MIB for count in (free_bytes, used_bytes, options.max_bytes))
    found = f"{free} MiB free, the outbox takes {used} of {limit} MiB"
    remedy = "make room, or lower outbox.max_size"
    if free_bytes < options.reserve_bytes:
        return fail("space", f"{found}; less than the reserve is free: the outbox does not grow", remedy)
    if used_bytes + may_grow_bytes < options.max_bytes:
        return warn("space", f"{found}; it will end at {(used_bytes + may_grow_bytes) // _MIB} MiB", remedy)
    return ok("space", found)
