"""The processes of the demo, read by clients that are not the agent's drivers."""

import asyncio
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from asyncua import Client, ua
from paho.mqtt import publish
from pymodbus.client import AsyncModbusTcpClient

from edge_agent.demo.child import ChildError, child
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

Plant = dict[str, int]


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with child("plant", directory=tmp_path) as (_, ports):
        yield ports


@pytest.fixture
async def modbus(plant: Plant) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=plant["modbus"])
    await client.connect()
    yield client
    client.close()


def floats(words: list[int]) -> list[float]:
    """Decode float32 with the low word first."""
    return [
        struct.unpack(">f", struct.pack(">2H", high, low))[0] for low, high in zip(*[iter(words)] * 2, strict=True)
    ]


async def test_the_press_answers_over_modbus_with_what_a_press_does(modbus: AsyncModbusTcpClient) -> None:
    words = (await modbus.read_holding_registers(0, count=6, device_id=1)).registers
    pressure, position, temperature, strokes = struct.unpack(">fhhI", struct.pack(">6H", *words))
    assert 30 < pressure < 200
    assert 0 <= position <= 2500
    assert 420 < temperature < 500
    assert strokes >= 700_412
    assert (await modbus.read_coils(0, count=1, device_id=1)).bits[0] is True
    assert (await modbus.read_discrete_inputs(0, count=2, device_id=1)).bits[1] is True


async def test_the_meter_answers_as_unit_two_with_numbers_that_agree(modbus: AsyncModbusTcpClient) -> None:
    words = (await modbus.read_input_registers(0, count=18, device_id=2)).registers
    voltage, current, power, factor, frequency = floats(words[:10])
    energy, energy_wh = struct.unpack(">dq", struct.pack(">8H", *words[10:]))
    assert 390 < voltage < 410
    assert power == pytest.approx(3**0.5 * voltage * current * factor / 1000, rel=1e-5)
    assert frequency == pytest.approx(50, abs=0.1)
    assert energy_wh == pytest.approx(energy * 1000, abs=1)


async def test_an_unknown_address_and_a_write_are_refused(
    modbus: AsyncModbusTcpClient,
) -> None:
    beyond = await modbus.read_holding_registers(0, count=20, device_id=1)
    assert (beyond.isError(), beyond.exception_code) == (True, 2)
    written = await modbus.write_register(0, 1, device_id=1)
    assert (written.isError(), written.exception_code) == (True, 1)


async def test_the_cnc_answers_over_opc_ua_with_types_times_and_changing_values(plant: Plant) -> None:
    async with Client(f"opc.tcp://127.0.0.1:{plant['opcua']}") as client:
        index = await client.get_namespace_index("http://example.com/simulated-cnc")

        async def read(name: str) -> ua.DataValue:
            return await client.get_node(f"ns={index};s={name}").read_data_value()

        state, count, tool = [await read(name) for name in ("Program.State", "Program.PartCount", "Spindle.Tool")]
        assert state.Value.Value in {"IDLE", "RUNNING", "HOLD"}
        assert (count.Value.VariantType, tool.Value.VariantType) == (ua.VariantType.UInt32, ua.VariantType.UInt16)
        assert count.Value.Value >= 1284

        first = (await read("Coolant.Temperature")).SourceTimestamp
        async with asyncio.timeout(5):
            while (await read("Coolant.Temperature")).SourceTimestamp <= first:
                pass


async def test_the_broker_and_the_subscriber_carry_a_message(tmp_path: Path) -> None:
    payload = (
        '{"schema":"edge.data/1","gateway":"demo","device":"cnc-01","code":"88.000.1/EQ","epoch":"e",'
        '"rows":[{"row":1,"points":{"a":{"v":[1,2]}}}]}'
    )
    async with (
        child("broker", directory=tmp_path) as (_, broker),
        child("subscriber", "127.0.0.1", str(broker["port"]), "demo", directory=tmp_path) as (subscriber, _),
    ):
        report = await subscriber.ask()
        assert report["received"] == 0
        publish.single("edge/v1/demo/cnc-01/data", payload, qos=1, hostname="127.0.0.1", port=broker["port"])
        publish.single("edge/v1/other/cnc-01/data", payload, qos=1, hostname="127.0.0.1", port=broker["port"])
        for _ in range(1000):
            report = await subscriber.ask()
            if report["received"]:
                break
        assert report == {
            "received": 2, "duplicated": 0, "messages": 1, "malformed": 0,
            "devices": ["cnc-01"], "codes": ["88.000.1/EQ"],
        }  # fmt: skip


async def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(ChildError, match=rf"no broker answers at 127\.0\.0\.1:{port}"):
        async with child("subscriber", "127.0.0.1", str(port), "demo", directory=tmp_path):
            pass


async def test_without_amqtt_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "amqtt.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ChildError, match=r"pip install 'edge-agent\[demo\]'"):
        async with child("broker", directory=tmp_path):
            pass


@pytest.mark.parametrize("name", ["plant", "broker"])
def test_a_child_ends_when_its_parent_is_killed(name: str, tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib\n"
        "from edge_agent.demo.child import child\n"
        "async def main():\n"
        f"    async with child({name!r}, directory=pathlib.Path({str(tmp_path)!r})) as (_, ports):\n"
        "        print('up', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with psutil.Popen([sys.executable, "-c", script], stdout=-1) as parent:
        assert parent.stdout.readline() == b"up\n"
        [process] = parent.children()
        parent.kill()
    assert psutil.wait_procs([process], timeout=10) == ([process], [])


def test_without_its_extra_the_demo_says_what_is_missing() -> None:
    program = (
        "import asyncio, sys; sys.modules['pymodbus'] = None; "
        "from edge_agent.demo import plant; asyncio.run(plant.run())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the simulated PLC is missing: pip install 'edge-agent[demo]'\n")
