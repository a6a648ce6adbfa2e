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
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"


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


def _together(**keys: object) -> None:
    if len({bool(value) for value in keys.values()}) > 1:
        raise ValueError(f"{' and '.join(f'`{key}:`' for key in keys)} go together")


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
    points: Sequence[OpcUaPoint] = Field(min_length=1, max_length=65535, description="What to read.")

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
