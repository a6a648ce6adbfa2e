"""Device identification, asked from a server that is not ours."""

from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent_modbus.identification import Category, identify
from edge_agent_modbus.session import ModbusSession
from tests.servers.modbus_device import unit, words
from tests.servers.modbus_server import libmodbus_server

NAMES = {"VendorName": "ACME", "ProductCode": "X-1", "MajorMinorRevision": "1.0", "ModelName": "Press " * 30}


async def test_a_device_says_who_it_is(unused_tcp_port: int) -> None:
    registers = SimDevice(1, simdata=[SimData(0, count=10, values=7, datatype=DataType.REGISTERS)])
    identity = ModbusDeviceIdentification(info_name=NAMES)
    server = ModbusTcpServer(registers, identity=identity, address=("127.0.0.1", unused_tcp_port))
    await server.serve_forever(background=True)
    try:
        session: ModbusSession = await unit(unused_tcp_port, words(0)).connect()
        basic = await identify(session.exchange, Category.BASIC)
        regular = await identify(session.exchange, Category.REGULAR)
        await session.close()
    finally:
        await server.shutdown()
    assert basic.texts() == {"vendor_name": "ACME", "product_code": "X-1", "revision": "1.0"}
    assert regular.texts()["model_name"] == NAMES["ModelName"].rstrip()
    assert basic.is_complete
    assert regular.is_complete


async def test_a_device_without_the_function_says_no() -> None:
    with libmodbus_server() as server:
        session = await unit(server.port, words(0)).connect()
        got = await identify(session.exchange)
        await session.close()
    assert (got.objects, got.exception, got.is_complete) == ({}, 1, False)
