"""The whole configuration, validated and frozen: what ``app`` runs."""

from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.collect.options import DeviceOptions
from edge_agent.identify.options import IdentifierOptions
from edge_agent.model import GatewayId
from edge_agent.ops.options import OpsOptions
from edge_agent.outbox.options import OutboxOptions
from edge_agent.publish.options import MqttOptions


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What a command beside the agent needs: where things are on this machine, and the ids.

    Read without secrets, so it has no device and no publisher that could be run by accident.

    Attributes:
        identifiers: None = no codes.
    """

    outbox: OutboxOptions
    identifiers: IdentifierOptions | None
    ops: OpsOptions


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """One gateway.

    Attributes:
        source: the YAML file.
        digest: hash of the file's bytes, shown as ``config_hash``.
        identifiers: None = no codes, with a loud warning.
        raw: the file's bytes.
        watched: files whose content is part of it: secrets, certificates, keys.
        insecure: dotted paths of the settings that weaken security, each logged and counted at start.
    """

    source: Path
    digest: str
    gateway: GatewayId
    gateway_name: str
    devices: tuple[DeviceOptions, ...]
    outbox: OutboxOptions
    publishers: tuple[MqttOptions, ...]
    identifiers: IdentifierOptions | None
    ops: OpsOptions
    insecure: tuple[str, ...] = field(default=())
    raw: bytes = field(default=b"", repr=False)
    watched: tuple[Path, ...] = ()
