"""The demo's configuration file with the addresses of this run in place of the ones that it ships with."""

import os
import socket
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from edge_agent.errors import EdgeAgentError

DEFAULT_MQTT_PORT = 1883
GATEWAY = "demo"


class BrokerUrlError(EdgeAgentError):
    """What was given as ``--broker`` is not ``mqtt://host:port``."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Address of a broker."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Broker":
        """Return the address in ``mqtt://host[:port]``.

        Raises:
            BrokerUrlError: it is something else, or carries a user, a path, or a port out of range.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or DEFAULT_MQTT_PORT
        except ValueError as exc:
            raise BrokerUrlError(f"{url!r}: {exc}; write mqtt://host:port") from exc
        if parts.scheme != "mqtt" or not host or "@" in parts.netloc or parts.path.strip("/") or parts.query:
            raise BrokerUrlError(f"{url!r} is not an address that the demo can use; write mqtt://host:port")
        return cls(host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Site:
    """What differs from run to run.

    Attributes:
        directory: temporary; holds the configuration, the outbox and the children's logs.
        gateway: a name that no other demo on the same broker has.
        modbus_port, opcua_port: of the simulated plant on 127.0.0.1.
    """

    directory: Path
    gateway: str
    modbus_port: int
    opcua_port: int
    broker: Broker

    def write(self) -> Path:
        """Write the configuration file and return its path."""
        path = self.directory / "demo.yaml"
        path.write_text(self.render(), encoding="utf-8")
        return path

    def render(self) -> str:
        """Return the text of ``demo.yaml`` with the addresses of this run."""
        text = resources.files("edge_agent.demo").joinpath("demo.yaml").read_text(encoding="utf-8")
        places = {
            "id: demo\n": f"id: {self.gateway}\n",
            "/var/lib/edge-agent-demo": str(self.directory / "state"),
            "/run/edge-agent-demo/control.sock": str(self.directory / "control.sock"),
            "mqtt://127.0.0.1:1883": str(self.broker),
            '"127.0.0.1:9464"': f'"127.0.0.1:{_free_port()}"',
            "opc.tcp://127.0.0.1:4840": f"opc.tcp://127.0.0.1:{self.opcua_port}",
            "port: 502\n": f"port: {self.modbus_port}\n",
        }
        for shipped, present in places.items():
            if shipped not in text:
                raise EdgeAgentError(f"demo.yaml has no {shipped.strip()!r}: the installation is damaged")
            text = text.replace(shipped, present)
        return text


def unique_gateway() -> str:
    """Return a name for a demo that shares its broker with others."""
    return f"{GATEWAY}-{os.urandom(3).hex()}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
