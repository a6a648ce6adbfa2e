"""Devices that take less than the standard allows. Data: each fact with where it is said.

None of these has been tried on the device by this project.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS, Table


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a model of device takes.

    Attributes:
        source: who says so.
        tables: those that it has.
    """

    source: str
    max_registers: int = MAX_REGISTERS
    max_coils: int = MAX_COILS
    tables: frozenset[Table] = frozenset(Table)


_REGISTERS = frozenset({Table.HOLDING, Table.INPUT})

QUIRKS: Mapping[str, Quirks] = {
    "standard": Quirks("MODBUS Application Protocol V1.1b3 §6.1 to §6.4"),
    "one-register": Quirks(
        "github.com/influxdata/telegraf/issues/12071: of more than one register every second is 0", 1, 1
    ),
    "cinergia-b2c": Quirks(
        "manual of the B2C10 v13, page 46: function 3 alone; a read begins where a variable does",
        tables=frozenset({Table.HOLDING}),
    ),
    "eastron-sdm": Quirks(
        "github.com/openWB/core/pull/2890: 80 by the manual, some meters refuse more than 50",
        max_registers=50,
        tables=_REGISTERS,
    ),
    "lumel-nd08": Quirks(
        "manual, page 45: 20 parameters of two registers in a query", max_registers=40, tables=_REGISTERS
    ),
    "pilot-spm93": Quirks(
        "manual, page 35: functions 1, 2, 3 and 5; frames of 128 bytes, which leaves 61 registers",
        max_registers=61,
        max_coils=984,
        tables=frozenset({Table.COIL, Table.DISCRETE, Table.HOLDING}),
    ),
    "rish-delta-vaf": Quirks(
        "manual of the Delta VAF NX, page 24: 40 parameters of two registers in a query",
        max_registers=80,
        tables=_REGISTERS,
    ),
    "sifam-alpha45": Quirks(
        "manual, page 32: 20 parameters of two registers in a query", max_registers=40, tables=_REGISTERS
    ),
    "solax-x1-boost": Quirks(
        "github.com/tobiasfaust/SolaxModbusGateway/issues/19: 64 registers are answered, 65 are not",
        max_registers=64,
    ),
}
"""By the name that is written in the configuration."""
