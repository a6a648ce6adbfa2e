"""A simulation file: an agent's configuration in which devices may say how they move and what goes wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import wording
from edge_agent.config.checks import check_names
from edge_agent.config.loader import load_document
from edge_agent.config.parts import validate_devices
from edge_agent.config.schema import AgentModel
from edge_agent.config.shape import keys
from edge_agent.config.tags import SecretsLeftOut
from edge_agent.driver import DeviceModel, DriverSpec, SimulatorSpec
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry


@dataclass(frozen=True, slots=True)
class SimulatedDevices:
    """What a file asks to simulate.

    Attributes:
        groups: the simulator of each driver and its devices.
        left_out: devices of drivers that have no simulator: id and driver.
    """

    groups: tuple[tuple[SimulatorSpec, tuple[DeviceModel, ...]], ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def devices(self) -> Iterator[DeviceModel]:
        """All that are simulated, driver by driver."""
        for _, models in self.groups:
            yield from models


def load_simulated(path: Path, registry: Registry) -> SimulatedDevices:
    """Read and check ``devices:`` of a file; the other sections of a configuration are not looked into.

    Raises:
        ConfigError: with every problem that was found, in order of place.
    """
    _, document = load_document(path, SecretsLeftOut)
    fields = keys(AgentModel)
    for key in document.root.children:
        if key not in fields:
            document.report((key,), wording.unknown_key(key, fields), at_key=True)
    found = document.root.child("devices")
    if found is None:
        document.report(("devices",), wording.missing_key("devices"))
    elif not isinstance(found[1].value, list):
        document.report(("devices",), wording.wrong_type(["a list"], found[1]))
    loaded: dict[str, SimulatorSpec] = {}

    def model_of(spec: DriverSpec) -> type[DeviceModel] | None:
        if spec.simulator is None:
            return None
        return loaded.setdefault(spec.protocol, spec.simulator()).config_model

    valid = validate_devices(document, path.absolute().parent, registry, model_of)
    check_names(document)
    if document.problems:
        raise ConfigError(sorted(set(document.problems)))
    simulated = [(spec, model) for spec, model in valid.values() if model.enabled]
    left_out = [node for position, node in document.items("devices") if position not in valid]
    return SimulatedDevices(
        tuple(
            (simulator, tuple(model for spec, model in simulated if spec.protocol == protocol))
            for protocol, simulator in loaded.items()
        ),
        tuple((str(node.children["id"][1].value), str(node.children["driver"][1].value)) for node in left_out),
    )
