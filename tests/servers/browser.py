"""A real browser, Chromium, that can reach the agent and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
_PATIENCE_MS = 30_000  # with a machine that has more to do
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run it without a window. No other test of this process may use asyncio meanwhile."""
    if not CHROMIUM.exists():
        raise AssertionError("Chromium is not installed: sh tests/servers/install.sh .venv/bin/python")
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page that is open at ``origin``.

    Attributes:
        page: the page.
        foreign: addresses outside ``origin`` that were asked for; they are not let out.
        complaints: what the page wrote into the console as an error, and exceptions in it.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        self._origin = origin
        page.route("**/*", self._route)
        page.on("console", lambda message: self._told(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong, rule and place."""
        found: Sequence[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found for node in one["nodes"]]

    def _route(self, route: Route) -> None:
        if route.request.url.startswith(f"{self._origin}/"):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _told(self, kind: str, words: str) -> None:
        if kind == "error":
            self.complaints.append(words)


@contextmanager
def visit(browser: Browser, origin: str, path: str = "/", **context: Any) -> Iterator[Visit]:
    """Open ``path`` in a new context, which has cookies and storage of its own.

    Args:
        browser: the browser.
        origin: scheme, host and port of the agent.
        path: on it.
        **context: what Playwright's ``new_context`` takes: ``locale``, ``viewport``, ``color_scheme`` …
    """
    with browser.new_context(**context) as made:
        page = made.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        one = Visit(page, origin)
        page.goto(f"{origin}{path}")
        yield one
