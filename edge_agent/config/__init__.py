"""YAML to frozen options, with every problem at its place."""

from pathlib import Path

from edge_agent.config.build import build, build_local
from edge_agent.config.loader import load_document
from edge_agent.config.options import AgentOptions, LocalOptions
from edge_agent.config.problems import Problem
from edge_agent.config.tags import SecretsLeftOut
from edge_agent.registry import Registry

__all__ = ["AgentOptions", "LocalOptions", "Problem", "load", "load_local"]


def load(path: Path, registry: Registry) -> AgentOptions:
    """Read, check and build the configuration.

    Secrets are resolved here; the outbox's and the control socket's default places come from the environment.

    Raises:
        ConfigError: with every problem that was found, in order of place; a driver that cannot be loaded is one
            of them.
    """
    source, document = load_document(path)
    return build(source, document, registry)


def load_local(path: Path, registry: Registry) -> LocalOptions:
    """As ``load``, for a command beside the agent: an operator's shell does not have the secrets.

    Raises:
        ConfigError: as ``load``, but not for a secret that is missing.
    """
    source, document = load_document(path, SecretsLeftOut)
    return build_local(source, document, registry)
