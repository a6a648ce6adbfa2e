# ruff: noqa: PLC0415 - a command imports what it needs, so that `edge-agent --help` stays quick
"""``edge-agent opcua``: the gateway's own certificate, and which servers are trusted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli import table
from edge_agent.cli.audit import recorded
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.certificates import CertificateEntry, CertificateStore

PROTOCOL = "opcua"

app = typer.Typer(no_args_is_help=True, help="OPC UA: the gateway's certificate, and which servers are trusted.")
trust_app = typer.Typer(
    no_args_is_help=True,
    help="The trust list. Works beside a running agent, which takes a change up at its next attempt to connect.",
)
app.add_typer(trust_app, name="trust")

Place = Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's YAML file, or its state directory.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts: JSON.")]
Certificate = Annotated[
    str,
    typer.Argument(
        metavar="CERTIFICATE", help="The fingerprint of one in the list, or its first digits (8 at least)."
    ),
]


@trust_app.command("list")
def trust_list(
    config: Place,
    *,
    as_json: Json = False,
) -> None:
    """Show the own certificates, the trusted ones, and those of servers that were refused."""
    entries = _store(config).entries()
    if as_json:
        typer.echo(json.dumps([_as_json(entry) for entry in entries], ensure_ascii=False))
        return
    from edge_agent.clock import SystemClock

    now_ns = SystemClock().now_ns()
    table.show(
        ("standing", "fingerprint", "subject", "application", "valid until", "seen"),
        (
            (
                entry.standing.value,
                entry.fingerprint[:16],
                entry.subject,
                entry.application_uri,
                _until(entry, now_ns),
                "\n".join(entry.seen),
            )
            for entry in entries
        ),
    )
    if any(entry.standing.value == "rejected" for entry in entries):
        typer.echo(
            "To trust one that was refused as not trusted: compare its whole fingerprint (--json) with what the\n"
            f"server shows, then edge-agent opcua trust add {config} FINGERPRINT\n"
            "One that was refused for another reason is to be renewed on the server.",
            err=True,
        )


@trust_app.command("add")
def trust_add(
    config: Place,
    certificate: Annotated[
        str,
        typer.Argument(
            metavar="CERTIFICATE",
            help="The fingerprint of a rejected one, or its first digits (8 at least); or a file, PEM or DER.",
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Trust a server, or an authority and every server that it vouches for."""
    store = _store(config)
    with recorded(_state(config), "opcua.trust.add", certificate=certificate):
        entry = store.trust(certificate)
    _tell("trusted now", entry, as_json=as_json)


@trust_app.command("remove")
def trust_remove(config: Place, certificate: Certificate, *, as_json: Json = False) -> None:
    """Trust a server no longer; a session that it has now goes on until it ends."""
    store = _store(config)
    with recorded(_state(config), "opcua.trust.remove", certificate=certificate):
        entry = store.distrust(certificate)
    _tell("not trusted any more", entry, as_json=as_json)


@app.command("certificate")
def own_certificate(
    config: Place,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there, for the server: .der or .pem."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make a new one first; the old one goes on where it is trusted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the gateway's own certificate, which servers have to trust; made if there is none yet."""
    store = _store(config)
    if renew:
        with recorded(_state(config), "opcua.certificate.renew"):
            entry = store.renew()
    else:
        entry = store.own()
    _tell("our certificate", entry, as_json=as_json)
    if output is not None:
        _write(entry.file, output)


def _state(place: Path) -> Path:
    from edge_agent.config import load_local
    from edge_agent.registry import Registry

    return place if place.is_dir() else load_local(place, Registry()).outbox.directory


def _store(place: Path) -> "CertificateStore":
    from edge_agent.collect.context import driver_directory
    from edge_agent.registry import Registry

    registry, state = Registry(), _state(place)
    if not state.is_dir():
        raise EdgeAgentError(f"{state} is not there yet: start the agent once, or make it for the agent's user")
    open_store = registry.load(PROTOCOL).certificates
    if open_store is None:
        raise EdgeAgentError(f"the driver {PROTOCOL} keeps no certificates")
    return open_store(driver_directory(state, PROTOCOL))


def _tell(what: str, entry: "CertificateEntry", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_as_json(entry), ensure_ascii=False))
        return
    from edge_agent.clock import SystemClock

    table.show(
        ("certificate", what),
        (
            ("SHA-256", _in_groups(entry.fingerprint)),
            ("SHA-1", _in_groups(entry.thumbprint)),
            ("subject", entry.subject),
            ("issuer", entry.issuer),
            ("application", entry.application_uri),
            ("valid until", _until(entry, SystemClock().now_ns())),
            ("file", entry.file),
        ),
    )


def _write(file: Path, output: Path) -> None:
    import ssl

    pem = file.read_text()
    try:
        if output.suffix.lower() in {".pem", ".crt"}:
            output.write_text(pem)
        else:
            output.write_bytes(ssl.PEM_cert_to_DER_cert(pem))
    except OSError as exc:
        raise EdgeAgentError(f"{output}: {exc.strerror}") from exc


def _until(entry: "CertificateEntry", now_ns: int) -> str:
    from datetime import UTC, datetime

    words = [f"{datetime.fromtimestamp(entry.valid_until_ns / 1e9, UTC):%Y-%m-%d}"]
    if now_ns > entry.valid_until_ns:
        words.append("expired")
    elif now_ns < entry.valid_from_ns:
        words.append("not valid yet")
    if entry.is_revoked:
        words.append("revoked")
    if entry.is_authority:
        words.append("authority")
    return ", ".join(words)


def _in_groups(fingerprint: str) -> str:
    return ":".join(fingerprint[i : i + 2] for i in range(0, len(fingerprint), 2)).upper()


def _as_json(entry: "CertificateEntry") -> dict[str, object]:
    return asdict(entry) | {"standing": entry.standing.value, "file": str(entry.file)}
