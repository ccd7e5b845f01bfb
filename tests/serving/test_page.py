"""The page at /: each of its features in a real browser; what violates its policy or ends in an error fails a test."""

import re
import shutil

import pytest

from refrain.serving.routes import page as page_route

BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
in_browser = [
    pytest.mark.heavy,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]
MOST_BYTES = 80_000
REFUSAL = "Failed to load resource: the server responded with a status of 4"


def test_the_page_is_served_with_its_policy_and_only_sent_when_it_is_new(served):
    answer = served.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "require-trusted-types-for 'script'" in answer.headers["Content-Security-Policy"]
    again = served.get("/", headers={"If-None-Match": f'"other", W/{answer.headers["ETag"]}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])


def test_all_of_the_page_is_small_and_names_no_other_address():
    contents = {name: content.decode() for name, (content, _) in page_route.read_files().items()}
    assert sum(len(content.encode()) for content in contents.values()) < MOST_BYTES
    assert "innerHTML" not in "".join(contents.values())
    addresses = {address for text in contents.values() for address in re.findall(r"https?://[\w.]+", text)}
    assert addresses == {"http://127.0.0.1", "http://www.w3.org"}


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/..%2Froutes%2Fpage.py", "/page/%2e%2e", "/page/"])
def test_nothing_but_the_page_is_served(served, path):
    answer = served.get(path)
    assert answer.status_code == 404
