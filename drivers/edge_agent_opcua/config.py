"""What an integrator writes of an OPC UA device."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from edge_agent.driver import DeviceModel, Duration, PointModel, Secret
from edge_agent_opcua.node_id import parse_node_id

DEFAULT_PORT = 4840  # OPC 10000-6 §7.1.3, IANA


class Mode(StrEnum):
    """Who starts: the server, when something changed, or the agent, on schedule."""

    SUBSCRIBE = "subscribe"
    POLL = "poll"


class SecurityPolicy(StrEnum):
    """Algorithms of the secure channel (OPC 10000-7)."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"


class SecurityMode(StrEnum):
    """What the secure channel protects."""

    SIGN = "Sign"
    SIGN_AND_ENCRYPT = "SignAndEncrypt"


def _check_node(text: str) -> str:
    parse_node_id(text)
    return text


def _check_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError(f"{text!r} is not an OPC UA address; write opc.tcp://host:{DEFAULT_PORT}")
    if "@" in parts.netloc:
        raise ValueError("user and password do not belong in the url; write them as `user:` and `password:`")
    port = parts.port  # raises ValueError out of range
    return text if port else text.replace(parts.netloc, f"{parts.netloc.rstrip(':')}:{DEFAULT_PORT}", 1)


class OpcUaPoint(PointModel):
    """One variable of the server."""

    node: Annotated[str, AfterValidator(_check_node)] = Field(
        description="Node id: `nsu=<namespace uri>;s=<name>`, `ns=2;i=5`, `i=2258`."
    )
    mode: Annotated[Mode, Field(strict=False)] | None = Field(
        default=None, description="subscribe or poll; default: the device's."
    )
    sampling_interval: Duration | None = Field(
        default=None,
        ge=0,
        description="How often the server samples the variable; default: the point's interval.",
    )


class OpcUaDevice(DeviceModel):
    """One OPC UA server."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(description="Address, such as opc.tcp://host:4840.")
    mode: Annotated[Mode, Field(strict=False)] = Field(
        default=Mode.SUBSCRIBE,
        description="subscribe: the server reports changes; poll: the agent asks each interval.",
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
        le=100_000,
        description="Samples of one variable that the server keeps between two publications; "
        "default: twice as many as it takes in that time.",
    )
    keep_alive: Duration = Field(
        default=5.0, ge=0.1, description="A server with nothing to report says so this often; silence is a loss."
    )
    session_timeout: Duration = Field(
        default=60.0, ge=1, description="The server forgets a session that asked nothing for this long."
    )
    connect_timeout: Duration = Field(default=15.0, gt=0, description="Longest time to connect and subscribe.")
    security_policy: Annotated[SecurityPolicy, Field(strict=False)] = Field(
        default=SecurityPolicy.NONE, description="None or Basic256Sha256."
    )
    security_mode: Annotated[SecurityMode, Field(strict=False)] = Field(
        default=SecurityMode.SIGN_AND_ENCRYPT, description="Sign or SignAndEncrypt, with a security policy."
    )
    certificate: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Own certificate, PEM or DER; its subjectAltName holds the application URI."
    )
    private_key: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="Own private key, PEM or DER, without a passphrase."
    )
    trusted: Annotated[Path, Field(strict=False)] | Sequence[Annotated[Path, Field(strict=False)]] | None = Field(
        default=None,
        description="Certificates of servers, or of the authorities that issue them: a folder or a list of files.",
    )
    application_uri: str = Field(default="", description="Default: the one in the certificate.")
    user: str = Field(default="", description="User name; without it the session is anonymous.")
    password: Secret | None = Field(default=None, description="Password of the user.")
    insecure_password: bool = Field(
        default=False, description="true: send the password over a connection that is not encrypted."
    )
    points: Sequence[OpcUaPoint] = Field(min_length=1, max_length=65535, description="What to read.")

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        files = {"certificate": self.certificate, "private_key": self.private_key, "trusted": self.trusted}
        if self.security_policy is SecurityPolicy.NONE:
            written = [key for key, value in files.items() if value is not None]
            if written:
                raise ValueError(f"{', '.join(written)} without `security_policy:`; write Basic256Sha256")
        else:
            missing = [key for key, value in files.items() if not value]
            if missing:
                raise ValueError(f"security_policy {self.security_policy.value} needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _check_password(self) -> Self:
        if bool(self.user) != (self.password is not None):
            raise ValueError("`user:` and `password:` go together")
        if self.user and not self.is_encrypted and not self.insecure_password:
            raise ValueError(
                "the password would go over a connection that is not encrypted; write "
                "`security_policy: Basic256Sha256`, or `insecure_password: true` if you accept that"
            )
        return self

    @model_validator(mode="after")
    def _check_subscription_keys(self) -> Self:
        polled = [point for point in self.points if (point.mode or self.mode) is Mode.POLL]
        unused = [point.name for point in polled if point.sampling_interval is not None]
        if unused:
            raise ValueError(
                f"sampling_interval of {', '.join(unused)} has no meaning in mode poll: write interval"
            )
        written = {"sampling_interval", "publishing_interval", "queue_size"} & self.model_fields_set
        if written and len(polled) == len(self.points):
            raise ValueError(f"{', '.join(sorted(written))} has no meaning: every point is polled")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read the connection."""
        return (
            self.security_policy is not SecurityPolicy.NONE and self.security_mode is SecurityMode.SIGN_AND_ENCRYPT
        )
