"""``edge-agent doctor``: looks at everything that an agent needs, and says what to do."""

import gzip
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import typer

from edge_agent.audit import chain
from edge_agent.audit.log import AuditLog
from edge_agent.cli import table
from edge_agent.cli.control import NoAgentError, get_status, get_text
from edge_agent.cli.exits import ExitCode
from edge_agent.cli.progress import open_progress
from edge_agent.clock import SystemClock
from edge_agent.config import AgentOptions, LocalOptions, load, load_local
from edge_agent.doctor.finding import Finding, Standing, fail, ok, warn
from edge_agent.doctor.machine import machine, state_directory
from edge_agent.doctor.redact import redact
from edge_agent.doctor.site import site
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.registry import Registry

LOG_LINES = 5000
_COLOURS = {Standing.OK: "green", Standing.WARN: "yellow", Standing.FAIL: "red"}
_READABLE_MODE = 0o600


@dataclass
class _Seen:
    """What was found on the way."""

    findings: list[Finding] = field(default_factory=list)
    status: dict[str, Any] | None = None
    local: LocalOptions | None = None
    options: AgentOptions | None = None


def examine(config: Path, bundle: Path | None, *, as_json: bool) -> ExitCode:
    """Print what was found; with ``bundle``, write a support archive, too.

    Raises:
        EdgeAgentError: the archive cannot be written.
    """
    seen = _Seen()
    with open_progress() as tell:
        for done, (what, found) in enumerate(_looks(config, seen)):
            tell(what, done / 7)
            seen.findings.extend(found)
    if as_json:
        typer.echo(json.dumps(_as_json(seen.findings), ensure_ascii=False))
    else:
        _print(seen.findings)
    if bundle is not None:
        _write_bundle(bundle, config, seen)
        typer.echo(f"{bundle}: for support; look into it before you send it", err=True)
    is_bad = any(one.standing is Standing.FAIL for one in seen.findings)
    return ExitCode.FAILED if is_bad else ExitCode.DONE


def _looks(config: Path, seen: _Seen) -> Iterator[tuple[str, Iterator[Finding]]]:
    yield "configuration", _configuration(config, seen)
    yield "machine", machine()
    if seen.local is not None:
        yield "agent", _agent(seen)
        yield "state directory", state_directory(seen.local.outbox)
        yield "audit log", _audit(seen.local)
    if seen.options is not None:
        connected = [one["id"] for one in (seen.status or {}).get("publishers", ()) if one["connected"]]
        yield "brokers and ports", site(seen.options, connected, is_running=seen.status is not None)


def _configuration(config: Path, seen: _Seen) -> Iterator[Finding]:
    try:
        seen.local = load_local(config, Registry())
        seen.options = load(config, Registry())
    except ConfigError as exc:
        problems = [str(problem) for problem in exc.problems]
        remedy = f"edge-agent check {config}"
        if seen.local is not None:  # sound but for secrets, which a shell may not have
            remedy = "as the agent's user or with sudo; credentials of the unit are there in the unit only"
            yield warn("configuration", f"brokers and ports are not looked at: {problems[0]}", remedy)
        else:
            yield fail("configuration", f"{len(problems)} problems, the first: {problems[0]}", remedy)
    else:
        yield ok("configuration", f"{config}: nothing wrong")


def _agent(seen: _Seen) -> Iterator[Finding]:
    assert seen.local is not None  # noqa: S101 - for the type checker
    path = seen.local.ops.control_socket
    try:
        status = seen.status = get_status(path)
    except NoAgentError:
        yield warn("agent", f"none answers at {path}", "systemctl start edge-agent, or edge-agent run")
        return
    except EdgeAgentError as exc:
        yield warn("agent", str(exc), "use sudo")
        return
    up_s = (status["now_ns"] - status["started_ns"]) / 1e9
    yield ok("agent", f"edge-agent {status['version']} has run for {up_s:.0f} s")
    if status["outbox"] and status["outbox"]["trouble"]:
        yield fail("outbox", str(status["outbox"]["trouble"]), "see the lines on space and state directory")
    away = [device for device in status["devices"] if device["phase"] not in {"online", "connecting"}]
    for device in away:
        yield warn(
            f"device {device['id']}", str(device["reason"] or device["phase"]), "the message says what to do"
        )
    for one in status["publishers"]:
        if not one["connected"] and seen.options is None:  # else its brokers are looked at
            yield fail(f"publisher {one['id']}", str(one["last_error"]), "the message says what to do")
    for one in status["certificates"]:
        yield warn(
            "certificate", f"{one['device']}: {one['certificate']} certificate ends soon", str(one["remedy"])
        )


def _audit(local: LocalOptions) -> Iterator[Finding]:
    try:
        verdict = chain.verify(AuditLog(local.outbox.directory, SystemClock()).lines())
    except EdgeAgentError as exc:
        yield warn("audit log", str(exc), "use sudo")
        return
    if verdict.breaks:
        first = verdict.breaks[0]
        remedy = f"edge-agent audit verify {local.outbox.directory}; somebody changed it"
        yield fail("audit log", f"{first.place}: {first.message}", remedy)
    elif verdict.entries:
        yield ok("audit log", f"{verdict.entries} entries, unchanged")


def _print(findings: list[Finding]) -> None:
    table.show(
        ("", "what", "found", "what to do"),
        ((one.standing.value, one.subject, one.found, one.remedy) for one in findings),
    )
    counts = {standing: sum(one.standing is standing for one in findings) for standing in Standing}
    typer.echo(", ".join(typer.style(f"{counts[one]} {one.value}", fg=_COLOURS[one]) for one in Standing))


def _as_json(findings: list[Finding]) -> dict[str, object]:
    return {
        "ok": all(one.standing is not Standing.FAIL for one in findings),
        "findings": [asdict(one) for one in findings],
    }


def _write_bundle(file: Path, config: Path, seen: _Seen) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in _contents(config, seen):
            member = tarfile.TarInfo(f"edge-agent-support/{name}")
            raw = redact(content).encode()
            member.size, member.mode, member.mtime = len(raw), _READABLE_MODE, int(time.time())
            tar.addfile(member, io.BytesIO(raw))
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _READABLE_MODE)
        with open(handle, "wb") as sink:  # noqa: PTH123 - made with its mode
            sink.write(stream.getvalue())
    except FileExistsError as exc:
        raise EdgeAgentError(f"{file} is there already") from exc
    except OSError as exc:
        raise EdgeAgentError(f"{file}: {exc.strerror}") from exc


def _contents(config: Path, seen: _Seen) -> Iterator[tuple[str, str]]:
    yield "doctor.json", json.dumps(_as_json(seen.findings), ensure_ascii=False, indent=1)
    versions = {one.metadata["Name"]: one.version for one in distributions()}
    yield "versions.json", json.dumps(dict(sorted(versions.items())), indent=1)
    if seen.local is None:
        yield "configuration-left-out.txt", "It has mistakes, so nobody knows whether secrets are written in it.\n"
    else:
        with suppress(OSError, UnicodeDecodeError):
            yield "configuration.yaml", config.read_text("utf-8")
        entries = [asdict(one) for one in AuditLog(seen.local.outbox.directory, SystemClock()).entries()]
        yield "audit.json", json.dumps(entries[-LOG_LINES:], ensure_ascii=False, indent=1)
    if seen.status is not None and seen.local is not None:
        yield "status.json", json.dumps(seen.status, ensure_ascii=False, indent=1)
        with suppress(EdgeAgentError):
            yield "metrics.txt", get_text(seen.local.ops.control_socket, "/metrics")
    if journal := _journal():
        yield "journal.txt", journal


def _journal() -> str:
    command = ["journalctl", "--unit=edge-agent", f"--lines={LOG_LINES}", "--no-pager", "--output=short-iso"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
