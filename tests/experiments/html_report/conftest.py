import pytest
from html_files import BROWSER
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def open_file(browser):
    """A function that opens an HTML file; what it writes to the console, or asks of anywhere, fails the test."""
    contexts, problems = [], []

    def start(file, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(file.as_uri())
        assert problems.pop(0) == file.as_uri()
        return page

    yield start
    for context in contexts:
        context.close()
    assert not [problem for problem in problems if problem != "data:,"]
