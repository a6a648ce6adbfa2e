"""An OPC UA server built on open62541, run by the Python that has o6: prints {"port": …}, ends with its input.

Its arguments are the number of variables ``Float.000`` … whose value is their number and a half, and a port, 0 for
a free one. o6 ends its process ten minutes after it was imported; so no process of ours imports it.
"""

import json
import socket
import sys
import threading
from itertools import count

import numpy as np
import o6

NAMESPACE = "http://example.com/cnc"
VALUES = {
    "Boolean": o6.Boolean(True),
    "SByte": o6.SByte(-(2**7)),
    "Byte": o6.Byte(2**8 - 1),
    "Int16": o6.Int16(-(2**15)),
    "UInt16": o6.UInt16(2**16 - 1),
    "Int32": o6.Int32(-(2**31)),
    "UInt32": o6.UInt32(2**32 - 1),
    "Int64": o6.Int64(-(2**63)),
    "UInt64": o6.UInt64(2**64 - 1),
    "Float": o6.Float(1.5),
    "Double": o6.Double(0.1),
    "String": "齿轮",
    "DateTime": o6.DateTime("2026-01-02T03:04:05.678Z"),
    "Guid": o6.Guid("72962b91-fa75-4ae6-8d28-b404dc7daf63"),
    "ByteString": b"\x00\xff",
    "XmlElement": o6.XmlElement("<a/>"),
    "NodeId": o6.NodeId("ns=2;s=Axis"),
    "ExpandedNodeId": o6.ExpandedNodeId("ns=2;i=5"),
    "QualifiedName": o6.QualifiedName("2:Axis"),
    "LocalizedText": o6.LocalizedText("Spindle"),
    "Doubles": np.array([1.0, 2.0]),
    "Matrix": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int32),
    "Texts": ["齿轮", "O1"],
}
PERIOD_S = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(floats: int, port: int) -> None:
    port = port or free_port()
    server = o6.Server(port=port, applicationUri=NAMESPACE)  # which is the name of namespace 1
    contents = VALUES | {f"Float.{i:03}": o6.Double(i + 0.5) for i in range(floats)}
    for name, content in contents.items():
        server.addVariable(name, server.objectsNode, content, nodeId=f"ns=1;s={name}")
    changing = [
        server.addVariable(name, server.objectsNode, o6.Int32(0), nodeId=f"ns=1;s={name}")
        for name in ("Counter", "Sine")
    ]
    is_over = threading.Event()

    def tick() -> None:
        for number in count(1):
            for variable in changing:
                variable(o6.Int32(number))
            if is_over.wait(PERIOD_S):
                return

    with server:
        ticking = threading.Thread(target=tick)
        ticking.start()
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.read()
        is_over.set()
        ticking.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
