"""TLS below Modbus: both sides show certificates, and what goes wrong says what to do.

Source: MODBUS/TCP Security Protocol Specification, MB-TCP-Security-v21. The role in our certificate is for the
device to judge.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge_agent.driver import StrictModel
from edge_agent.errors import DeviceUnavailableError

PORT = 802
"""Registered for Modbus over TLS."""

_File = Annotated[Path, Field(strict=False)]

# X509_V_ERR_… of OpenSSL, as in ``SSLCertVerificationError.verify_code``
_NOT_TRUSTED = "its certificate is not trusted; if it is the device's own, put it or its issuer's into tls.ca:"
_WHY_UNTRUSTED = {
    2: _NOT_TRUSTED,  # issuer not found
    9: "its certificate is not valid yet; set the clock of this gateway, or of what issued it",
    10: "its certificate has expired; renew it on the device, or set the clock of this gateway",
    18: _NOT_TRUSTED,  # self-signed
    19: _NOT_TRUSTED,  # self-signed, further up
    20: _NOT_TRUSTED,  # issuer not found
    21: _NOT_TRUSTED,  # issuer of the first one not found
    62: "its certificate is for another name; set tls.server_name: to the name in it",
    64: "its certificate is for another address; set tls.server_name: to the name in it",
}
_REFUSES_US = "it refuses our certificate; let the device trust it or its issuer, and check its dates and role"
NO_ANSWER = f"without an answer; perhaps {_REFUSES_US}"
"""TLS 1.3: a device looks at our certificate after the handshake; its alert is lost if it closes in a hurry."""
_NO_TLS = "it speaks no TLS there; check port: (802 is usual), and that the device's secure server is switched on"
_TOO_OLD = "it has no TLS 1.2 or newer; update its firmware"
# What ``SSLError.reason`` has: alerts of the peer (RFC 8446 §6.2) and failures of ours.
_WHY = {
    "CERTIFICATE_REQUIRED": _REFUSES_US,
    "BAD_CERTIFICATE": _REFUSES_US,
    "UNSUPPORTED_CERTIFICATE": _REFUSES_US,
    "CERTIFICATE_REVOKED": _REFUSES_US,
    "CERTIFICATE_EXPIRED": _REFUSES_US,
    "CERTIFICATE_UNKNOWN": _REFUSES_US,
    "UNKNOWN_CA": _REFUSES_US,
    "ACCESS_DENIED": _REFUSES_US,
    "DECRYPT_ERROR": _REFUSES_US,
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
}


class TlsModel(StrictModel):
    """Whom to trust, and our own certificate; PEM files, read anew for each connection."""

    ca: _File = Field(description="Certificates (PEM): the device's own, or those of its issuers.")
    certificate: _File = Field(
        description="Our certificate (PEM), followed by those between it and what the device trusts."
    )
    key: _File = Field(description="The private key of our certificate (PEM, without a passphrase).")
    server_name: str = Field(
        default="", description="The name or address that the device's certificate must be for; default: host:."
    )


def load_context(settings: TlsModel, *, checks_name: bool) -> ssl.SSLContext:
    """Return what a connection needs of the disk. Blocks: call it on a thread.

    Raises:
        DeviceUnavailableError: a file is missing or is not what it should be; the message names it.
    """
    for path in (settings.ca, settings.certificate, settings.key):
        try:
            path.read_bytes()
        except OSError as exc:
            raise DeviceUnavailableError(
                f"cannot read {path}: {exc.strerror}; see that it is there and that the agent's user may read it"
            ) from exc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = checks_name
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # a device's own certificate may be listed
    try:
        context.load_verify_locations(settings.ca)
    except ssl.SSLError as exc:
        raise DeviceUnavailableError(f"{settings.ca} has no certificate in PEM form") from exc
    try:
        context.load_cert_chain(settings.certificate, settings.key, password="")  # or it asks the terminal
    except (ssl.SSLError, ValueError) as exc:
        what = f"{settings.certificate} and {settings.key}"
        if isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
            raise DeviceUnavailableError(f"{what} do not belong together") from exc
        message = f"{what} are not a certificate and its private key in PEM form, without a passphrase"
        raise DeviceUnavailableError(message) from exc
    return context


async def own_end_ns(settings: TlsModel) -> int:
    """Return until when our certificate is valid, UTC.

    Raises:
        DeviceUnavailableError: it cannot be read.
    """
    from cryptography import x509  # noqa: PLC0415 - only where there is TLS

    try:
        content = await asyncio.to_thread(settings.certificate.read_bytes)
        end = x509.load_pem_x509_certificate(content).not_valid_after_utc
    except (OSError, ValueError) as exc:
        raise DeviceUnavailableError(f"cannot read {settings.certificate}: {exc}") from exc
    return round(end.timestamp()) * 10**9


def explain(error: ssl.SSLError) -> str:
    """Return what went wrong with a peer, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _WHY_UNTRUSTED.get(error.verify_code, "its certificate is refused")
        return f"{why} ({error.verify_message})"
    reason = error.reason or str(error)
    alert = reason.rpartition("ALERT_")[2]
    return f"{_WHY.get(alert, 'TLS failed; see the log of the device')} ({reason.lower().replace('_', ' ')})"
