"""Driver for OPC UA servers: subscriptions and cyclic reads. Light: asyncua is imported when a device connects."""

import importlib
from pathlib import Path

from edge_agent.browsing import BrowserSpec
from edge_agent.certificates import CertificateStore
from edge_agent.driver import DriverSpec, Stability
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.device import create, writer

__all__ = ["DRIVER"]


def _certificates(directory: Path) -> CertificateStore:
    # cryptography is loaded where a command asks for it only.
    store: CertificateStore = importlib.import_module("edge_agent_opcua.store").Store(directory)
    return store


def _read_files(config: OpcUaDevice) -> None:
    importlib.import_module("edge_agent_opcua.security").read_files(config)


def _browser() -> BrowserSpec:
    spec: BrowserSpec = importlib.import_module("edge_agent_opcua.browse").BROWSER
    return spec


DRIVER = DriverSpec(
    protocol="opcua",
    api=0,
    config_model=OpcUaDevice,
    create=create,
    title="OPC UA client: subscribes to or polls the variables of a server (CNC, PLC, SCADA)",
    stability=Stability.BETA,
    writer=writer,
    browser=_browser,
    certificates=_certificates,
    files=_read_files,
    found=OpcUaDevice.with_found,
)
