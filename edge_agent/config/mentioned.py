"""The files that a configuration names, for whoever takes them along to another machine."""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.config.build import build_local
from edge_agent.config.loader import load_document
from edge_agent.config.options import LocalOptions
from edge_agent.config.parts import take_apart
from edge_agent.config.tags import SecretsLeftOut
from edge_agent.registry import Registry


@dataclass(frozen=True, slots=True)
class Mentioned:
    """What a configuration names.

    Attributes:
        gateway: its id.
        paths: absolute: secrets of ``!file``, certificates, keys, folders of such.
        elsewhere: what lives in no file of its own: ``!credential mqtt``, ``!env TOKEN``, folders of drivers.
    """

    gateway: str
    local: LocalOptions
    paths: tuple[Path, ...]
    elsewhere: tuple[str, ...]


class _Noting(SecretsLeftOut):
    """Looks no secret up, and notes where each one would be."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory
        self.seen: list[tuple[str, str]] = []

    def _look_up(self, tag: str, argument: str) -> str:
        self.seen.append((tag, argument))
        return super()._look_up(tag, argument)


def mentioned(path: Path, registry: Registry) -> Mentioned:
    """Return what the configuration at ``path`` names, whether it is there or not.

    Raises:
        ConfigError: it cannot be used.
    """
    noting = _Noting(path.absolute().parent)
    source, document = load_document(path, lambda _: noting)
    local = build_local(source, document, registry)
    parts = take_apart(document, noting.directory, registry)
    found = [noting.directory / name for tag, name in noting.seen if tag == "!file"]
    found.extend(parts.paths())
    elsewhere = [f"{tag} {name}" for tag, name in noting.seen if tag != "!file"]
    elsewhere += [f"drivers_path {node.value}" for _, node in document.items("drivers_path")]
    gateway = parts.gateway.id if parts.gateway else ""
    return Mentioned(gateway, local, tuple(dict.fromkeys(found)), tuple(dict.fromkeys(elsewhere)))
