"""An OPC UA server that looks like the controller of a milling machine. Security policy None: it is a toy."""

from collections.abc import Callable
from datetime import UTC, datetime

from asyncua import Server, ua

from edge_agent.demo.signals import Mill, mill_at

NAMESPACE = "http://example.com/simulated-cnc"

_VARIABLES: dict[str, tuple[ua.VariantType, Callable[[Mill], object]]] = {
    "Program.State": (ua.VariantType.String, lambda mill: mill.program_state.value),
    "Program.Name": (ua.VariantType.String, lambda mill: mill.program_name),
    "Program.PartCount": (ua.VariantType.UInt32, lambda mill: mill.part_count),
    "Spindle.Speed": (ua.VariantType.Double, lambda mill: mill.spindle_speed),
    "Spindle.Load": (ua.VariantType.Float, lambda mill: mill.spindle_load),
    "Spindle.Tool": (ua.VariantType.UInt16, lambda mill: mill.tool),
    "Feed.Rate": (ua.VariantType.Double, lambda mill: mill.feed_rate),
    "Feed.Override": (ua.VariantType.UInt16, lambda mill: mill.feed_override),
    "Axis.X": (ua.VariantType.Double, lambda mill: mill.x),
    "Axis.Y": (ua.VariantType.Double, lambda mill: mill.y),
    "Axis.Z": (ua.VariantType.Double, lambda mill: mill.z),
    "Coolant.Temperature": (ua.VariantType.Float, lambda mill: mill.coolant_temperature),
    "Door.Open": (ua.VariantType.Boolean, lambda mill: mill.is_door_open),
    "Alarm.Code": (ua.VariantType.Int32, lambda mill: mill.alarm_code),
    "Alarm.Text": (ua.VariantType.String, lambda mill: mill.alarm_text),
}


class SimulatedCnc:
    """The server. ``now_s`` tells the time of the simulation."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._server: Server | None = None
        self._nodes: dict[str, ua.NodeId] = {}

    async def start(self) -> int:
        """Listen on a free loopback port and return it."""
        server = Server()
        await server.init()
        server.set_server_name("Simulated CNC")
        server.set_endpoint("opc.tcp://127.0.0.1:0/")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace(NAMESPACE)
        machine = await server.nodes.objects.add_object(ua.NodeId("CNC", index), ua.QualifiedName("CNC", index))
        mill = mill_at(self._now_s())
        for name, (variant_type, value_of) in _VARIABLES.items():
            node = await machine.add_variable(
                ua.NodeId(name, index), ua.QualifiedName(name, index), value_of(mill), variant_type
            )
            self._nodes[name] = node.nodeid
        await self.refresh(server)
        await server.start()
        self._server = server
        return int(server.bserver.port)

    async def refresh(self, server: Server | None = None) -> None:
        """Write the values of this moment with their source time."""
        target = server or self._server
        if target is None:
            return
        mill, now = mill_at(self._now_s()), datetime.now(UTC)
        for name, (variant_type, value_of) in _VARIABLES.items():
            is_broken = name == "Coolant.Temperature" and mill.is_coolant_sensor_broken
            value = ua.DataValue(
                ua.Variant(value_of(mill), variant_type),
                StatusCode=ua.StatusCode(ua.StatusCodes.BadSensorFailure if is_broken else ua.StatusCodes.Good),
                SourceTimestamp=now,
                ServerTimestamp=now,
            )
            await target.write_attribute_value(self._nodes[name], value)

    async def stop(self) -> None:
        """End every session; silent if it does not run."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()
