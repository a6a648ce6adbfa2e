"""What an integrator writes of an OPC UA device."""

import difflib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from edge_agent.driver import DeviceModel, Duration, Secret
from edge_agent_opcua.entry import OpcUaBrowse
from edge_agent_opcua.found import Found, expanded
from edge_agent_opcua.point import MAX_QUEUE, SUBSCRIPTION_KEYS, Discard, Mode, OpcUaPoint, Trigger
from edge_agent_opcua.profiles import AUTO, PROFILES

__all__ = ["Mode", "OpcUaDevice", "OpcUaPoint"]

DEFAULT_PORT = 4840  # OPC 10000-6 §7.1.3, IANA
MAX_ENTRIES = 100
MAX_SUBSCRIPTIONS = 10  # of one session; controllers have few


class SecurityPolicy(StrEnum):
    """Algorithms of the secure channel (OPC 10000-7)."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"


class SecurityMode(StrEnum):
    """What the secure channel protects."""

    SIGN = "Sign"
    SIGN_AND_ENCRYPT = "SignAndEncrypt"


def _check_profile(name: str) -> str:
    if name != AUTO and name not in PROFILES:
        close = difflib.get_close_matches(name, PROFILES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join([AUTO, *PROFILES])}"
        raise ValueError(f"unknown profile {name!r}; {hint}")
    return name


def _check_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError(f"{text!r} is not an OPC UA address; write opc.tcp://host:{DEFAULT_PORT}")
    if "@" in parts.netloc:
        raise ValueError("user and password do not belong in the url; write them as `user:` and `password:`")
    port = parts.port  # raises ValueError out of range
    return text if port else text.replace(parts.netloc, f"{parts.netloc.rstrip(':')}:{DEFAULT_PORT}", 1)


def _together(**keys: object) -> None:
    if len({bool(value) for value in keys.values()}) > 1:
        raise ValueError(f"{' and '.join(f'`{key}:`' for key in keys)} go together")


class OpcUaDevice(DeviceModel):
    """One OPC UA server."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(description="Address, such as opc.tcp://host:4840.")
    profile: Annotated[
        str,
        AfterValidator(_check_profile),
        WithJsonSchema({"type": "string", "enum": [AUTO, *PROFILES]}),
    ] = Field(
        default=AUTO,
        description="What the model of server takes: limits that are known of it; auto: as it names itself.",
    )
    mode: Annotated[Mode, Field(strict=False)] = Field(
        default=Mode.SUBSCRIBE,
        description="subscribe: the server reports changes; poll: the agent asks each interval; "
        "both: reported, and compared with a read each `check_interval`.",
    )
    check_interval: Duration = Field(
        default=600.0, ge=1, description="Time between two reads that check what the server reports, in mode both."
    )
    sampling_interval: Duration | None = Field(
        default=None, ge=0, description="How often the server looks at a variable; default: the point's interval."
    )
    publishing_interval: Duration | None = Field(
        default=None,
        ge=0.01,
        description="How often the server sends changes; default: the device's interval.",
    )
    queue_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_QUEUE,
        description="Samples of one variable that the server keeps between two publications; "
        "default: twice as many as it takes in that time.",
    )
    discard: Annotated[Discard, Field(strict=False)] = Field(
        default=Discard.OLDEST, description="oldest or newest: which sample a full queue gives up."
    )
    trigger: Annotated[Trigger, Field(strict=False)] = Field(
        default=Trigger.VALUE,
        description="What the server reports as a change: status, value (or status), timestamp (or either).",
    )
    bad_node_retry: Duration = Field(
        default=1800.0, ge=1, description="A node that the server does not know or give is tried again after this."
    )
    transient_retry: Duration = Field(
        default=30.0,
        ge=1,
        description="A node that it cannot report now is tried again after this, then later each time, "
        "at most `bad_node_retry`.",
    )
    backfill: bool = Field(
        default=True, description="After an outage, fetch what the server kept of it, where it keeps a history."
    )
    backfill_timeout: Duration = Field(
        default=1800.0, ge=1, description="Longest time to fetch an outage; what has not come by then is a loss."
    )
    keep_alive: Duration = Field(
        default=5.0, ge=0.1, description="A server with nothing to report says so this often; silence is a loss."
    )
    session_timeout: Duration = Field(
        default=60.0, ge=1, description="The server forgets a session that asked nothing for this long."
    )
    connect_timeout: Duration = Field(default=15.0, gt=0, description="Longest time to connect and subscribe.")
    security_policy: Annotated[SecurityPolicy, Field(strict=False)] = Field(
        default=SecurityPolicy.NONE,
        description="None, Basic256Sha256, Aes128_Sha256_RsaOaep or Aes256_Sha256_RsaPss; never less.",
    )
    security_mode: Annotated[SecurityMode, Field(strict=False)] = Field(
        default=SecurityMode.SIGN_AND_ENCRYPT, description="Sign or SignAndEncrypt, with a security policy."
    )
    certificate: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="Own certificate, PEM or DER; its subjectAltName holds the application URI."
        " Default: the gateway's, which is made at the first start.",
    )
    private_key: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Key of `certificate`, PEM or DER, without a passphrase."
    )
    trusted: Annotated[Path, Field(strict=False)] | Sequence[Annotated[Path, Field(strict=False)]] | None = Field(
        default=None,
        description="Certificates of servers, or of the authorities that issue them, besides the trust list"
        " (`edge-agent opcua trust`): a folder or a list of files.",
    )
    insecure_server_uri: bool = Field(
        default=False, description="true: take a trusted server whose certificate names another application."
    )
    application_uri: str = Field(default="", description="Default: the one in the certificate.")
    user: str = Field(default="", description="User name; without it the session is anonymous.")
    password: Secret | None = Field(default=None, description="Password of the user.")
    insecure_password: bool = Field(
        default=False, description="true: send the password without a security policy, for everybody to read."
    )
    user_certificate: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Certificate to log in with instead of a user name, PEM or DER."
    )
    user_private_key: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Key of `user_certificate`, PEM or DER, without a passphrase."
    )
    server_units: bool = Field(
        default=True,
        description="Points that have no unit or range here have the server's; false: it is not asked.",
    )
    browse: Sequence[OpcUaBrowse] = Field(
        default=(), max_length=MAX_ENTRIES, description="Variables that are points because the server has them."
    )
    points: Sequence[OpcUaPoint] = Field(
        default=(), max_length=65535, description="What to read; needed unless there is `browse:`."
    )

    _written: Sequence[OpcUaPoint] | None = PrivateAttr(default=None)
    _found: Found = PrivateAttr(default_factory=Found)

    @property
    def written(self) -> Sequence[OpcUaPoint]:
        """The points as they are written; those of ``points`` that were found come behind them."""
        return self.points if self._written is None else self._written

    @property
    def found(self) -> Found:
        """What the server said, with which the points are what they are."""
        return self._found

    def with_found(self, text: str) -> "OpcUaDevice":
        """Return the device as the server says it is; ``text`` is a ``Found``."""
        found = Found.of(text)
        points, nodes = expanded(self.written, self.browse, found)
        device = self.model_copy(update={"points": points})
        device._written, device._found = self.written, Found(tuple(nodes), found.written)  # noqa: SLF001 - it is ours
        return device

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if not self.points and not self.browse:
            raise ValueError("neither `points:` nor `browse:`; write what to read")
        return self

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        _together(certificate=self.certificate, private_key=self.private_key)
        _together(user_certificate=self.user_certificate, user_private_key=self.user_private_key)
        if self.security_policy is SecurityPolicy.NONE:
            keys = {"certificate", "private_key", "trusted", "security_mode", "insecure_server_uri"}
            written = sorted((keys | {"user_certificate"}) & self.model_fields_set)
            if written:
                raise ValueError(f"{', '.join(written)} without `security_policy:`; write Basic256Sha256")
        return self

    @model_validator(mode="after")
    def _check_user(self) -> Self:
        _together(user=self.user, password=self.password)
        if self.user and self.user_certificate is not None:
            raise ValueError("`user:` and `user_certificate:` are two ways to log in; write one")
        if self.user and self.security_policy is SecurityPolicy.NONE and not self.insecure_password:
            raise ValueError(
                "the password would go over a connection that is not protected; write "
                "`security_policy: Basic256Sha256`, or `insecure_password: true` if you accept that"
            )
        return self

    @model_validator(mode="after")
    def _check_subscription_keys(self) -> Self:
        asked: list[OpcUaPoint | OpcUaBrowse] = [*self.points, *self.browse]
        polled = [one for one in asked if not (one.mode or self.mode).is_subscribed]
        for point in polled:
            unused = sorted(SUBSCRIPTION_KEYS & point.model_fields_set)
            if unused:
                raise ValueError(
                    f"{', '.join(unused)} of {point.name} has no meaning in mode poll: write interval"
                )
        written = SUBSCRIPTION_KEYS & self.model_fields_set
        if written and len(polled) == len(asked):
            raise ValueError(f"{', '.join(sorted(written))} has no meaning: every point is polled")
        if "backfill_timeout" in self.model_fields_set and not self.backfill:
            raise ValueError("backfill_timeout has no meaning: nothing is fetched with `backfill: false`")
        if "check_interval" in self.model_fields_set and not self._is_any(Mode.BOTH):
            raise ValueError("check_interval has no meaning: no point is in mode both")
        return self

    @model_validator(mode="after")
    def _check_subscriptions(self) -> Self:
        asked: list[OpcUaPoint | OpcUaBrowse] = [*self.points, *self.browse]
        intervals_s = {one.publishing_interval for one in asked if one.publishing_interval is not None}
        if len(intervals_s) >= MAX_SUBSCRIPTIONS:
            raise ValueError(
                f"{len(intervals_s)} different publishing intervals of points are as many subscriptions; "
                f"write fewer than {MAX_SUBSCRIPTIONS}"
            )
        return self

    def _is_any(self, mode: Mode) -> bool:
        modes = [*(point.mode for point in self.points), *(entry.mode for entry in self.browse)]
        return any((one or self.mode) is mode for one in modes)
