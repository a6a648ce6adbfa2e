"""YAML to frozen options, with every problem at its place."""

from pathlib import Path

from edge_agent.config.build import build, build_local, default_state_directory
from edge_agent.config.loader import load_document, parse_source
from edge_agent.config.options import AgentOptions, LocalOptions
from edge_agent.config.problems import Problem
from edge_agent.config.source import Source, read
from edge_agent.config.tags import SecretsLeftOut
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry

__all__ = [
    "AgentOptions",
    "LocalOptions",
    "Problem",
    "Source",
    "load",
    "load_local",
    "load_source",
    "read",
    "state_directory",
]


def load(path: Path, registry: Registry, *, needs_device_files: bool = True) -> AgentOptions:
    """Read, check and build the configuration.

    Secrets are resolved here; the outbox's and the control socket's default places come from the environment.

    Args:
        path: the YAML file.
        registry: of the drivers.
        needs_device_files: whether a certificate or key of a device that cannot be read is a problem. An agent
            that runs takes it for that device's failure.

    Raises:
        ConfigError: with every problem that was found, in order of place; a driver that cannot be loaded is one
            of them.
    """
    return load_source(read(path), registry, needs_device_files=needs_device_files)


def load_source(source: Source, registry: Registry, *, needs_device_files: bool = True) -> AgentOptions:
    """As ``load``, for a text that was read before.

    Raises:
        ConfigError: as ``load``.
    """
    return build(source, parse_source(source), registry, needs_device_files=needs_device_files)


def load_local(path: Path, registry: Registry) -> LocalOptions:
    """As ``load``, for a command beside the agent: an operator's shell does not have the secrets.

    Raises:
        ConfigError: as ``load``, but not for a secret that is missing.
    """
    source, document = load_document(path, SecretsLeftOut)
    return build_local(source, document, registry)


def state_directory(path: Path) -> Path:
    """Return the state directory that a file names that may be broken otherwise; the default if it names none."""
    try:
        _, document = load_document(path, SecretsLeftOut)
    except ConfigError:
        return Path(default_state_directory())
    outbox = document.root.child("outbox")
    found = outbox[1].child("directory") if outbox is not None else None
    named = found[1].value if found is not None else None
    folder = path.absolute().parent
    return folder / (named if isinstance(named, str) and named else default_state_directory())
