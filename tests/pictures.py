"""Takes the pictures of the status page that docs/status-page.md shows: `python -m tests.pictures`."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.e2e.test_status_page import Plant, open_device, plant
from tests.servers.browser import chromium, visit

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"


def take(browser: Browser, plant: Plant, name: str, locale: str, width: int, height: int, scheme: str) -> None:
    """Write one picture."""
    size = {"width": width, "height": height}
    with visit(browser, plant.origin, locale=locale, viewport=size, color_scheme=scheme) as one:
        if width > 720:
            open_device(one, "press-02")
            expect(one.page.locator("#points tr")).to_have_count(3)
        expect(one.page.locator("#publishers tr")).to_have_count(1)
        one.page.screenshot(path=FOLDER / f"status-{name}.png")


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    with plant("Press 4") as one, chromium() as browser:
        take(browser, one, "desk", "en-GB", 1280, 860, "light")
        take(browser, one, "panel-zh", "zh-CN", 1024, 600, "dark")
        take(browser, one, "phone", "en-GB", 390, 844, "light")


if __name__ == "__main__":
    main()
