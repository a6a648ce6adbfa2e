"""The simulator before a client in C: it speaks Modbus, not only what our own driver takes for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_agent_modbus.identification import Category, identification_part, identification_pdu
from edge_agent_modbus.pdu import ExceptionReply
from tests.servers.modbus_device import open_tcp
from tests.servers.modbus_server import libmodbus_program
from tests.servers.simulated_modbus import simulated, simulated_device

SOURCE = Path(__file__).parents[1] / "servers/libmodbus_client.c"
BITS = [True, False, True, True, False, False, True, False, True, True]


def constant(value: object) -> dict[str, Any]:
    return {"signal": {"shape": "constant", "value": value}}


POINTS: list[dict[str, Any]] = [
    *({"coil": address, **constant(value)} for address, value in enumerate(BITS)),
    *({"discrete": address, **constant(not value)} for address, value in enumerate(BITS)),
    *({"holding": address, "type": "uint16", **constant(100 * address)} for address in range(10)),
    *({"input": address, "type": "uint16", **constant(7 * address)} for address in range(10)),
]


@pytest.fixture(scope="module")
def client() -> Path:
    return libmodbus_program(SOURCE)


async def ask(client: Path, place: str, *arguments: object) -> str:
    """Ask at ``host:port``, or at the path of a serial line."""
    words = [str(word) for word in (place.rpartition(":")[2], 1, *arguments)]
    process = await asyncio.create_subprocess_exec(client, *words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode().strip()


@pytest.mark.parametrize("wire", ["tcp", "rtu"])
async def test_libmodbus_reads_and_writes_with_every_function(client: Path, tmp_path: Path, wire: str) -> None:
    keys = {} if wire == "tcp" else {"serial": {"port": str(tmp_path / "line")}}
    async with simulated(simulated_device(POINTS, **keys)) as server:
        port = server.places[0]
        assert await ask(client, port, 1, 0, 10) == " ".join(str(int(bit)) for bit in BITS)
        assert await ask(client, port, 2, 1, 9) == " ".join(str(int(not bit)) for bit in BITS[1:])
        assert await ask(client, port, 3, 2, 3) == "200 300 400"
        assert await ask(client, port, 4, 7, 3) == "49 56 63"
        await ask(client, port, 5, 1, 0, 1)
        await ask(client, port, 15, 4, 2, 1, 1)
        assert await ask(client, port, 1, 0, 7) == "1 1 1 1 1 1 1"
        await ask(client, port, 6, 0, 0, 0x1234)
        await ask(client, port, 22, 0, 0, 0xFF00, 0x0056)
        await ask(client, port, 16, 1, 2, 11, 12)
        assert await ask(client, port, 3, 0, 4) == f"{0x1256} 11 12 300"
        assert await ask(client, port, 23, 5, 3, 51, 52) == "51 52 700"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ((3, 9, 2), "exception Illegal data address"),
        ((6, 500, 0, 1), "exception Illegal data address"),
        ((4, 0, 6), "exception Illegal data value"),
    ],
)
async def test_libmodbus_is_refused_by_the_right_exception(
    client: Path, request_: tuple[int, ...], answer: str
) -> None:
    async with simulated(simulated_device(POINTS, max_registers=5)) as server:
        assert await ask(client, server.places[0], *request_) == answer


async def test_the_identification_comes_in_as_many_answers_as_it_takes() -> None:
    identification = {"vendor": "A" * 200, "product_code": "B" * 200, "revision": "1.4", "model_name": "C"}
    async with simulated(simulated_device(POINTS, identification=identification)) as server:
        transport = await open_tcp("127.0.0.1", server.ports[0])
        objects: dict[int, bytes] = {}
        first: int | None = 0
        answers = 0
        while first is not None:
            reply = await transport.exchange(1, identification_pdu(Category.REGULAR, first))
            part = identification_part(Category.REGULAR, reply)
            assert not isinstance(part, ExceptionReply)
            objects |= part.objects
            first, answers = part.next_object, answers + 1
        transport.close()
    assert objects == {0: b"A" * 200, 1: b"B" * 200, 2: b"1.4", 5: b"C"}
    assert answers == 2


async def test_a_device_without_identification_does_not_know_the_function() -> None:
    async with simulated(simulated_device(POINTS)) as server:
        transport = await open_tcp("127.0.0.1", server.ports[0])
        reply = await transport.exchange(1, identification_pdu(Category.BASIC))
        transport.close()
    assert identification_part(Category.BASIC, reply) == ExceptionReply(1)
