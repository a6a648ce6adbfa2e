"""One simulated unit: what it answers, and what goes wrong with the answer."""

from dataclasses import dataclass

from edge_agent.model import DeviceId
from edge_agent.simulating import Simulation, SimulationEvent, SimulationEventKind
from edge_agent_modbus.simulator.answers import Answers
from edge_agent_modbus.simulator.config import SimulatedDevice
from edge_agent_modbus.simulator.faults import Delay, ExceptionAnswer, Fault, Garble, Occurrence, Short, Silence
from edge_agent_modbus.simulator.memory import Cell, Memory
from edge_agent_modbus.simulator.plausible import plausible
from edge_agent_modbus.simulator.request import block_of, describe
from edge_agent_modbus.simulator.signals import Moment

_BYTE_COUNTED = {1, 2, 3, 4, 23}  # functions whose answer begins with a byte count


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    Attributes:
        pdu: with the faults that concern it alone; None: nothing goes back.
        fault: the one that the wire has to see to.
        delay_s: how long it takes.
    """

    pdu: bytes | None
    fault: Fault | None = None
    delay_s: float = 0.0


class Unit:
    """A unit behind an address that it may share with others."""

    def __init__(self, device: SimulatedDevice, simulation: Simulation) -> None:
        self.id = DeviceId(device.id)
        self.number = device.unit
        self._simulation = simulation
        seed = f"{simulation.seed}/{device.id}"
        cells = []
        for index, point in enumerate(device.points):
            source = point.source(index)
            signal = point.signal or plausible(point, source)
            cells.append(Cell(source, signal.course(f"{seed}/{point.name}")))
        limits = device.limits
        self._memory = Memory(cells, has_gaps=limits.gaps)
        self._answers = Answers(
            self._memory,
            max_coils=limits.coils,
            max_registers=limits.registers,
            objects=device.identification.objects if device.identification else {},
        )
        self._faults = [Occurrence(fault, f"{seed}/fault/{index}") for index, fault in enumerate(device.faults)]
        self._fault_start_s = self._start_s = simulation.clock.monotonic_s()

    def tell(self, kind: SimulationEventKind, detail: str) -> None:
        """Tell that something happened here."""
        self._simulation.tell(SimulationEvent(kind, self.id, detail))

    def switch_on(self) -> None:
        """Begin anew: signals from their start, nothing written. Faults keep their schedule."""
        self._start_s = self._simulation.clock.monotonic_s()
        self._memory.forget()

    def answer(self, pdu: bytes) -> Answer:
        """Return what becomes of a request."""
        now_s = self._simulation.clock.monotonic_s()
        request = describe(self.number, pdu)
        self.tell(SimulationEventKind.REQUEST, request)
        block = block_of(pdu)
        faults = [o.fault for o in self._faults if o.happens(block, now_s - self._fault_start_s)]
        for each in faults:
            self.tell(SimulationEventKind.FAULT, f"{each}: {request}")
        delay_s = sum(each.delay for each in faults if isinstance(each, Delay))
        fault = next((each for each in faults if not isinstance(each, Delay)), None)
        reply = self._answers.answer(pdu, Moment(now_s - self._start_s, self._simulation.clock.now_ns()))
        match fault:
            case ExceptionAnswer():
                return Answer(bytes([pdu[0] | 0x80, fault.code]), None, delay_s)
            case Silence():
                return Answer(None, None, delay_s)
            case Short():
                return Answer(_shortened(reply, fault.missing), None, delay_s)
            case Garble(what="count"):
                return Answer(_miscounted(reply), None, delay_s)
            case Garble(what="function"):
                return Answer(bytes([reply[0] ^ 1]) + reply[1:], None, delay_s)
            case _:
                return Answer(reply, fault, delay_s)


def _shortened(reply: bytes, missing: int) -> bytes:
    body = reply[2 : max(2, len(reply) - missing)]
    return (
        bytes([reply[0], len(body)]) + body if reply[0] in _BYTE_COUNTED else reply[: max(1, len(reply) - missing)]
    )


def _miscounted(reply: bytes) -> bytes:
    return bytes([reply[0], reply[1] ^ 0x02]) + reply[2:] if reply[0] in _BYTE_COUNTED else reply + b"\0"
