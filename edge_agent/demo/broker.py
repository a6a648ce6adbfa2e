"""An MQTT broker for the demo in a process of its own: ``python -m edge_agent.demo.broker``.

amqtt speaks MQTT 3.1.1 and keeps nothing on disk: good for a demo, not for a plant. Prints one line of JSON
with its port, runs until its standard input closes.
"""

import asyncio
import sys
import warnings

from edge_agent.demo.child import announce, parent_gone

_PLUGIN = "amqtt.plugins.authentication.AnonymousAuthPlugin"


async def run() -> None:
    """Serve until the parent is gone."""
    try:
        from amqtt.broker import Broker  # noqa: PLC0415  # comes with the extra "demo"
    except ImportError:
        sys.exit("the embedded broker is missing: pip install 'edge-agent[demo]', or name a broker with --broker")
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}, "plugins": {_PLUGIN: {}}})
    await broker.start()
    try:
        # Port 0 lets the system choose; amqtt has no public way to ask which one it was.
        listener = broker._servers["default"].instance  # noqa: SLF001
        announce({"port": listener.sockets[0].getsockname()[1]})
        await parent_gone()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of amqtt and what it imports: nobody here can act on them
    asyncio.run(run())
