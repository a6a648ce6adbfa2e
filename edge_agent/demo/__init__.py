"""The whole agent against a simulated plant, on this machine, in one command."""


def run_demo(seconds: float | None = None, as_json: bool = False, broker: str | None = None) -> int:  # noqa: FBT001, FBT002  # the command line's switches, in its order
    """Run the demo and return the exit code: 1 if a committed reading did not arrive.

    Args:
        seconds: how long to collect; None = until Ctrl-C.
        as_json: print one line of JSON at the end and nothing else on standard output.
        broker: ``mqtt://host:port`` of a broker to use instead of the embedded one.
    """
    from edge_agent.demo.run import run  # noqa: PLC0415  # the child processes import this package, not the agent

    return run(seconds, as_json=as_json, broker=broker)
