"""The only place that names the errors of asyncua: what they mean, and what a person can do."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from asyncua import ua
from asyncua.crypto.uacrypto import InvalidSignature

from edge_agent.errors import DeviceUnavailableError, DriverError, ExchangeError

# What a hostile, broken or vanished server can make the library raise; anything else is a bug of ours.
FOREIGN = (
    ua.UaError,
    OSError,  # and TimeoutError
    AssertionError,  # a refused secure channel
    InvalidSignature,
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

_CODES = ua.StatusCodes
_TRUST_US = "make our certificate trusted there (edge-agent opcua certificate)"
_CHECK_USER = "the server refuses this user: check `user:` and `password:`, or `user_certificate:`"
_HINTS = {
    _CODES.BadUserAccessDenied: _CHECK_USER,
    _CODES.BadIdentityTokenRejected: _CHECK_USER,
    _CODES.BadIdentityTokenInvalid: "the server does not take this kind of user: write `user:` or "
    "`user_certificate:`, or neither",
    _CODES.BadCertificateUntrusted: f"the server does not trust our certificate: {_TRUST_US}",
    _CODES.BadSecurityChecksFailed: f"the server refuses our certificate: {_TRUST_US}",
    _CODES.BadCertificateChainIncomplete: f"the server does not know who issued our certificate: {_TRUST_US}",
    _CODES.BadCertificateInvalid: "the server finds our certificate invalid: check `certificate:`",
    _CODES.BadCertificateTimeInvalid: "our certificate has expired, or a clock is wrong, here or there",
    _CODES.BadCertificateUriInvalid: "our certificate names another application: check `application_uri:`",
    _CODES.BadCertificateUseNotAllowed: "our certificate is not meant for client authentication",
    _CODES.BadCertificateRevoked: "our certificate was revoked: make a new one",
    _CODES.BadSecurityPolicyRejected: "the server refuses this `security_policy:`",
    _CODES.BadTooManySessions: "the server has no session left: close another client, or wait for its time-out",
    _CODES.BadTooManySubscriptions: "the server has no subscription left: close another client",
    _CODES.BadTcpEndpointUrlInvalid: "the server does not know this address: check `url:`",
}
_ABOUT_OUR_CERTIFICATE = frozenset(
    {
        _CODES.BadCertificateUntrusted,
        _CODES.BadSecurityChecksFailed,
        _CODES.BadCertificateChainIncomplete,
        _CODES.BadCertificateInvalid,
        _CODES.BadCertificateTimeInvalid,
        _CODES.BadCertificateUriInvalid,
        _CODES.BadCertificateUseNotAllowed,
        _CODES.BadCertificateRevoked,
    }
)
_SESSION_IS_DEAD = {
    _CODES.BadConnectionClosed,
    _CODES.BadNoSubscription,
    _CODES.BadNotConnected,
    _CODES.BadSecureChannelClosed,
    _CODES.BadSecureChannelIdInvalid,
    _CODES.BadSecureChannelTokenUnknown,
    _CODES.BadServerHalted,
    _CODES.BadSessionClosed,
    _CODES.BadSessionIdInvalid,
    _CODES.BadSessionNotActivated,
    _CODES.BadShutdown,
    _CODES.BadSubscriptionIdInvalid,
}
TOO_MUCH = {
    _CODES.BadEncodingLimitsExceeded,
    _CODES.BadRequestTooLarge,
    _CODES.BadResponseTooLarge,
    _CODES.BadTooManyOperations,
}


@contextmanager
def plain_cancellation() -> Iterator[None]:
    """Make a cancellation that crossed an answer an ordinary one.

    On Python 3.11 the library raises a subclass of CancelledError then, which ``asyncio.timeout`` does not take
    for its own: the time-out would end the task instead of raising TimeoutError.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        if type(exc) is asyncio.CancelledError:
            raise
        raise asyncio.CancelledError from exc


@asynccontextmanager
async def in_time(within_s: float) -> AsyncIterator[None]:
    """As ``asyncio.timeout``, which alone must not be put round the library: see ``plain_cancellation``.

    Raises:
        TimeoutError: the block took longer than ``within_s`` seconds.
    """
    async with asyncio.timeout(within_s):
        with plain_cancellation():
            yield


@contextmanager
def whole_session(url: str, doing: str) -> Iterator[None]:
    """What fails inside ends the session.

    Raises:
        DeviceUnavailableError: for every error of the library.
    """
    try:
        with plain_cancellation():
            yield
    except DriverError:
        raise
    except FOREIGN as exc:
        raise DeviceUnavailableError(f"{url}: {doing}: {explain(exc)}") from exc


@contextmanager
def one_exchange(url: str, doing: str) -> Iterator[None]:
    """What fails inside voids the exchange, or ends the session if that is what it means.

    Raises:
        DeviceUnavailableError: the connection or the server's side of the session is gone.
        ExchangeError: for every other error of the library.
    """
    try:
        with plain_cancellation():
            yield
    except DriverError:
        raise
    except FOREIGN as exc:
        if _is_fatal(exc):
            raise DeviceUnavailableError(f"{url}: {doing}: {explain(exc)}") from exc
        raise ExchangeError(f"{url}: {doing}: {explain(exc)}") from exc


def explain(exc: BaseException) -> str:
    """Return what happened and, where one can tell, what to do about it."""
    if isinstance(exc, ua.UaStatusCodeError):
        name = ua.StatusCode(exc.code).name
        return f"{_HINTS[exc.code]} ({name})" if exc.code in _HINTS else name
    if isinstance(exc, AssertionError):
        return f"the server refuses the secure channel: it may not trust our certificate; {_TRUST_US}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, InvalidSignature):
        return "the server's signature is wrong"
    return str(exc) or type(exc).__name__


def is_about_our_certificate(exc: BaseException) -> bool:
    """Return whether the server may have refused us for the certificate that we showed; many just hang up."""
    cause = exc.__cause__
    if isinstance(cause, ua.UaStatusCodeError):
        return cause.code in _ABOUT_OUR_CERTIFICATE
    return isinstance(cause, AssertionError | ConnectionError)


def is_for_want_of_subscriptions(exc: BaseException) -> bool:
    """Return whether the server has no subscription left for us."""
    return bool(status_of(exc.__cause__) == _CODES.BadTooManySubscriptions)


def status_of(exc: BaseException | None) -> int | None:
    """Return the StatusCode that the server answered with, if that is what ``exc`` is."""
    return int(exc.code) if isinstance(exc, ua.UaStatusCodeError) else None


def _is_fatal(exc: BaseException) -> bool:
    if isinstance(exc, ua.UaStatusCodeError):
        return exc.code in _SESSION_IS_DEAD
    return isinstance(exc, OSError) and not isinstance(exc, TimeoutError)
