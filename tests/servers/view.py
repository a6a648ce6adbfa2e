"""A status page's view without an agent behind it."""

from collections.abc import Callable

from edge_agent.clock import SystemClock
from edge_agent.current import Current
from edge_agent.ops.view import Sources, View


def view_of(head: Callable[[], dict[str, object]] = dict) -> View:
    """Return a view that shows ``head``, no devices and no losses."""
    clock = SystemClock()
    sources = Sources(
        head=head, devices=tuple, describe=lambda _: {}, current=Current(clock), code=lambda _: None, losses=list
    )
    return View(sources, clock)
