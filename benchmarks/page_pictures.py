"""Pictures of pages for docs/images: python -m benchmarks.page_pictures URL|REPORT.html [FOLDER].

Of a server that runs, which is to speak with the model of `make demo`, in the repository that made it; or of the report
of that run, by `refrain report --html REPORT.html`.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW, LOW, PHONE = (
    ViewportSize(width=width, height=height) for width, height in ((1200, 920), (1200, 600), (390, 700))
)
SETTINGS = "temperature=0&seed=7"
MOST_BYTES = 150_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", metavar="URL|REPORT.html")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        print("page_pictures: there is no Chromium here; apt-get install chromium", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        is_report = options.source.endswith(".html")
        kind, pictures = ("report", REPORT_PICTURES) if is_report else ("page", PICTURES)
        for name, draw in pictures.items():
            path = options.folder / f"{kind}-{name}.png"
            draw(browser, Path(options.source).resolve().as_uri() if is_report else options.source).screenshot(
                path=path
            )
            print(f"{path}: {path.stat().st_size} bytes")
            if path.stat().st_size > MOST_BYTES:
                return 1
    return 0


def draw_light(browser: Browser, url: str) -> Page:
    """An answer with its lineage."""
    page = open_page(browser, url)
    ask(page, "How come an iceberg floats rather than dropping to the sea floor?")
    page.get_by_role("button", name="Lineage").click()
    expect(page.locator(".training li")).not_to_have_count(0)
    page.evaluate("document.scrollingElement.scrollTop = 0")
    return rest(page)


def draw_dark(browser: Browser, url: str) -> Page:
    """What could have come instead of a token."""
    page = open_page(browser, url, color_scheme="dark", viewport=LOW)
    ask(page, "I keep hearing about aquifers, so what do people mean by that?")
    page.locator(".token").nth(1).click()
    return rest(page)


def draw_phone(browser: Browser, url: str) -> Page:
    """A narrow window."""
    page = open_page(browser, url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    ask(page, "Tell me where Icelandic homes get their heating.")
    return rest(page)


def draw_side_by_side(browser: Browser, url: str) -> Page:
    """Two variants that do not agree."""
    page = open_page(browser, url, f"model=refrain:fp32&beside=refrain:int4&{SETTINGS}", viewport=LOW)
    ask(page, "Is the Arctic getting warmer faster than other places?")
    return rest(page)


PICTURES: dict[str, Callable[[Browser, str], Page]] = {
    "light": draw_light,
    "dark": draw_dark,
    "phone": draw_phone,
    "side-by-side": draw_side_by_side,
}


def draw_report(browser: Browser, url: str) -> Page:
    """What is said first, and the scores."""
    page = browser.new_page(viewport=WINDOW)
    page.goto(url)
    return page


def draw_report_rows(browser: Browser, url: str) -> Page:
    """Rows of which the base knew most before the training."""
    page = browser.new_page(viewport=LOW, color_scheme="dark")
    page.goto(url)
    page.get_by_label("Score of").select_option("base")
    page.get_by_role("button", name="ROUGE-L of base").click()
    page.evaluate("document.querySelector('#test-rows').scrollIntoView()")
    return page


def draw_report_proof(browser: Browser, url: str) -> Page:
    """A narrow window, at the chain of proof."""
    page = browser.new_page(viewport={**PHONE, "height": 640}, is_mobile=True, device_scale_factor=1.5)
    page.goto(f"{url}#chain-of-proof")
    return page


REPORT_PICTURES: dict[str, Callable[[Browser, str], Page]] = {
    "light": draw_report,
    "dark": draw_report_rows,
    "phone": draw_report_proof,
}


def open_page(browser: Browser, url: str, settings: str = SETTINGS, **options: object) -> Page:
    page = browser.new_page(**{"viewport": WINDOW, **options})  # type: ignore[arg-type]
    page.goto(f"{url}/#{settings}")
    expect(page.locator("#setting-model option")).not_to_have_count(0)
    return page


def ask(page: Page, question: str) -> None:
    page.locator("#box").fill(question)
    page.locator("#box").press("Enter")
    expect(page.locator(".figures")).to_contain_text(["first after"], timeout=60_000)
    expect(page.locator("main[aria-busy=false]")).to_have_count(1, timeout=60_000)


def rest(page: Page) -> Page:
    """The page when the gauge has measured too."""
    expect(page.locator("#room")).to_have_text(re.compile(r"^[2-9]\d of"))  # with the answer, not only the question
    page.mouse.move(0, 0)
    return page


if __name__ == "__main__":
    sys.exit(main())
