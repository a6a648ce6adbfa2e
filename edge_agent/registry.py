"""Finds drivers: installed ones by entry point, local ones by folder. Listing imports nothing."""

import importlib
import importlib.util
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from edge_agent.driver import API, DriverSpec
from edge_agent.errors import DriverLoadError

GROUP = "edge_agent.drivers"
FOLDER_PREFIX = "edge_agent_"


@dataclass(frozen=True, slots=True)
class _Claim:
    """One offer to serve a protocol: an installed entry point or a folder."""

    protocol: str
    source: EntryPoint | Path

    @property
    def origin(self) -> str:
        if isinstance(self.source, Path):
            return f"folder {self.source}"
        owner = f" of {self.source.dist.name} {self.source.dist.version}" if self.source.dist else ""
        return f"entry point {self.source.value}{owner}"


class Registry:
    """The drivers that this installation has.

    Args:
        drivers_path: folders whose sub-folders ``edge_agent_<protocol>`` are drivers.
    """

    def __init__(self, drivers_path: Sequence[Path] = ()) -> None:
        self._drivers_path = tuple(drivers_path)
        self._loaded: dict[str, DriverSpec] = {}

    def extended(self, drivers_path: Sequence[Path]) -> "Registry":
        """Return a registry that looks into these folders too; this one if there are none."""
        return Registry((*self._drivers_path, *drivers_path)) if drivers_path else self

    def protocols(self) -> dict[str, str]:
        """Return protocol → origin of every driver, without importing any.

        Raises:
            DriverLoadError: two claims to one protocol, or a folder that others may write to.
        """
        return {protocol: claim.origin for protocol, claim in sorted(self._claims().items())}

    def load(self, protocol: str) -> DriverSpec:
        """Import the driver of ``protocol`` and return what it registers; the second call is free.

        Raises:
            DriverLoadError: unknown, claimed twice, not importable, or not made for this version.
        """
        if protocol not in self._loaded:
            claims = self._claims()
            if protocol not in claims:
                known = ", ".join(sorted(claims)) or "none"
                raise DriverLoadError(f"no driver for {protocol!r}; installed are: {known}")
            self._loaded[protocol] = _load(claims[protocol])
        return self._loaded[protocol]

    def _claims(self) -> dict[str, _Claim]:
        claims: dict[str, _Claim] = {}
        for claim in (*_installed(), *_local(self._drivers_path)):
            other = claims.get(claim.protocol)
            if other is not None:
                raise DriverLoadError(
                    f"two drivers claim {claim.protocol!r}: {other.origin} and {claim.origin}; remove one",
                    claim.origin,
                )
            claims[claim.protocol] = claim
        return claims


def _installed() -> list[_Claim]:
    # One distribution may be seen twice on sys.path (an editable install and its folder): same value, one claim.
    unique = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    return [_Claim(name, point) for (name, _), point in unique.items()]


def _local(drivers_path: Sequence[Path]) -> list[_Claim]:
    claims = []
    for root in drivers_path:
        if not root.is_dir():
            raise DriverLoadError("drivers_path names a folder that does not exist", str(root))
        for folder in sorted(root.glob(f"{FOLDER_PREFIX}*")):
            if not (folder / "__init__.py").is_file():
                continue
            # Folders inside and compiled modules too: whoever writes there decides what is imported.
            for path in (root, folder, *sorted(folder.rglob("*"))):
                if path.exists() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise DriverLoadError(
                        f"{path} is writable by group or others; run: chmod -R go-w {path}", f"folder {folder}"
                    )
            claims.append(_Claim(folder.name.removeprefix(FOLDER_PREFIX), folder))
    return claims


def _load(claim: _Claim) -> DriverSpec:
    try:
        driver = _import(claim.source)
    except Exception as exc:  # foreign code runs here: whatever it raises is a driver that cannot be loaded
        raise DriverLoadError(
            f"driver {claim.protocol!r} cannot be imported: {type(exc).__name__}: {exc}", claim.origin
        ) from exc
    if not isinstance(driver, DriverSpec):
        raise DriverLoadError(f"driver {claim.protocol!r} has no DRIVER of type DriverSpec", claim.origin)
    if driver.api != API:
        raise DriverLoadError(
            f"driver {claim.protocol!r} is made for contract {driver.api}, this agent has {API}", claim.origin
        )
    if driver.protocol != claim.protocol:
        raise DriverLoadError(f"driver claims {claim.protocol!r} but registers {driver.protocol!r}", claim.origin)
    return driver


def _import(source: EntryPoint | Path) -> object:
    if isinstance(source, EntryPoint):
        return source.load()
    init = source / "__init__.py"
    present = sys.modules.get(source.name)
    if present is not None:
        if present.__file__ != str(init):
            raise ImportError(f"{source.name} is already imported from {present.__file__}")
        return getattr(present, "DRIVER", None)
    spec = importlib.util.spec_from_file_location(source.name, init, submodule_search_locations=[str(source)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{init} is not a module")
    module = sys.modules[source.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[source.name]
        raise
    return getattr(module, "DRIVER", None)
