"""YAML to frozen options, with every problem at its place."""

from pathlib import Path

from edge_agent.config.build import build
from edge_agent.config.loader import load_document
from edge_agent.config.options import AgentOptions
from edge_agent.config.problems import Problem
from edge_agent.registry import Registry

__all__ = ["AgentOptions", "Problem", "load"]


def load(path: Path, registry: Registry) -> AgentOptions:
    """Read, check and build the configuration.

    Secrets are resolved here; the outbox's and the control socket's default places come from the environment.

    Raises:
        ConfigError: with every problem that was found, in order of place; a driver that cannot be loaded is one
            of them.
    """
    source, document = load_document(path)
    return build(source, document, registry)
