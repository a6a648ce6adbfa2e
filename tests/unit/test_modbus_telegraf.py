"""No more requests than Telegraf's planner makes of the register layouts in its documentation.

Telegraf documents four ways to group registers (plugins/inputs/modbus/README.md, "Optimization setting"). The one
that makes the fewest requests is ``max_insert``: fields are taken into a request, lowest address first, as long as
the hole before the next one is not larger than ``optimization_max_register_fill`` and the request not larger than
the limit. What it would do is computed here anew from that description, for every allowed value (1 to 125); nobody
ran Telegraf for it. Fields with ``omit = true`` are holes, and a layout without the setting is the same to us.
"""

from collections.abc import Sequence

import pytest

from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Limits, plan_reads

FILLS = range(1, 126)
Layout = list[tuple[Table, int, int]]
"""Table, address and registers of each field."""

# The sample configurations: sample_register.conf, sample_request.conf and sample_metric.conf. A coil or discrete
# input is one address wide, whatever type is written with it.
LAYOUTS: dict[str, Layout] = {
    "register style": [
        *[(Table.DISCRETE, address, 1) for address in range(4)],
        *[(Table.COIL, address, 1) for address in range(3)],
        *[(Table.HOLDING, a, n) for a, n in [(8, 1), (0, 1), (5, 2), (1, 2), (7, 1), (3, 2), (5, 8)]],
        *[(Table.INPUT, address, size) for address, size in [(0, 1), (1, 1), (3, 2)]],
    ],
    "request style": [
        *[(Table.COIL, address, 1) for address in (0, 1, 3, 4)],
        *[(Table.HOLDING, address, size) for address, size in [(0, 1), (1, 2), (5, 2), (7, 2), (8, 4)]],
        *[(Table.INPUT, address, size) for address, size in [(0, 1), (1, 1), (2, 2), (4, 2)]],
    ],
    "metric style": [
        *[(Table.COIL, address, 1) for address in (0, 1)],
        *[(Table.HOLDING, a, n) for a, n in [(0, 1), (1, 2), (5, 2), (7, 2), (8, 4), (9, 8)]],
    ],
}


def max_insert(layout: Layout, fill: int) -> int:
    """Return the requests by the documented description, computed anew."""
    requests = 0
    for table in {table for table, _, _ in layout}:
        limit = 2000 if table.has_bits else 125
        begin = end = None
        for address, size in sorted((address, size) for t, address, size in layout if t is table):
            if begin is None or end is None or address - end > fill or max(end, address + size) - begin > limit:
                requests, begin, end = requests + 1, address, address + size
            else:
                end = max(end, address + size)
    return requests


def sources(layout: Layout) -> list[Source]:
    return [
        Source(index, table, address, ValueType.BOOL)
        if table.has_bits
        else Source(index, table, address, ValueType.BYTES, length_bytes=2 * size)
        for index, (table, address, size) in enumerate(layout)
    ]


def requests(layout: Layout, speed: LineSpeed) -> int:
    return len(plan_reads(1, sources(layout), frozenset(), Limits(gaps=True), speed=speed))


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layouts_in_the_documentation_take_no_more_requests(name: str) -> None:
    layout = LAYOUTS[name]
    for speed in (LineSpeed(), LineSpeed.serial(9600), LineSpeed.serial(115200)):
        assert requests(layout, speed) <= min(max_insert(layout, fill) for fill in FILLS)


def spread(addresses: Sequence[int], size: int = 1) -> Layout:
    return [(Table.HOLDING, address, size) for address in addresses]


@pytest.mark.parametrize(
    "layout",
    [
        spread(range(0, 1000, 10)),
        spread(range(0, 4000, 40), 2),
        spread([a for block in range(0, 2000, 200) for a in range(block, block + 90)]),
        spread([0, 100, 120, 124, 126, 249, 251, 375, 499, 500]),
    ],
    ids=["every tenth", "every fortieth", "blocks", "round the limit"],
)
def test_larger_layouts_take_no_more_requests_either(layout: Layout) -> None:
    assert requests(layout, LineSpeed()) <= min(max_insert(layout, fill) for fill in FILLS)
