"""What is logged of a request, and what is not."""

import json
import logging
import time

import pytest

from refrain.serving.process.logs import JsonFormatter, TextFormatter
from refrain.serving.settings.schema import LogSettings

ASKED = "the secret question"


@pytest.fixture(scope="module")
def talkative(serve):
    return serve(log=LogSettings(prompts=True), api_key="sk-key")


@pytest.fixture
def lines(caplog):
    """The access log in a format, as it is written."""
    caplog.set_level(logging.INFO, logger="refrain.serving.middleware.access_log")

    def write(formatter, count=1):
        end = time.monotonic() + 120
        while len(found := [r for r in caplog.records if r.name.endswith("access_log")]) < count:
            assert time.monotonic() < end  # the line comes after the answer
        return [formatter.format(record) for record in found]

    return write


def test_a_line_says_who_asked_for_what_and_how_it_ended_and_no_prompt(server, lines):
    server.get("/healthz")
    server.chat(ASKED, max_tokens=1)
    server.get(f"/v1/models?q={ASKED}")
    first, second = lines(TextFormatter(), 2)
    assert "INFO 127.0.0.1 POST /v1/chat/completions 200 0." in first and "GET /v1/models 200" in second
    assert ASKED not in first + second


def test_the_same_line_as_json_can_be_found_by_the_id_of_the_request(server, lines, caplog):
    server.get("/v1/models", headers={"X-Request-Id": "mine-1"})
    (line,) = map(json.loads, lines(JsonFormatter()))
    assert (line["method"], line["path"], line["status"], line["is_whole"]) == ("GET", "/v1/models", 200, True)
    assert line["level"] == "info" and line["seconds"] >= 0


@pytest.mark.parametrize(("given", "is_kept"), [("mine-1", True), ("a b", False), ("x" * 129, False), ("", False)])
def test_an_id_of_the_client_is_kept_if_it_is_one(server, given, is_kept):
    name = server.get("/v1/models", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert (name == given) is is_kept and name


def test_prompts_are_logged_where_that_is_set_and_keys_never(talkative, lines):
    body = {"messages": [{"role": "user", "content": ASKED}], "max_tokens": 1}
    talkative.post("/v1/chat/completions", body, headers={"Authorization": "Bearer sk-key"})
    (line,) = lines(JsonFormatter())
    assert ASKED in json.loads(line)["body"] and json.loads(line)["key"] == "api_key"
    assert "sk-key" not in line


def test_nobody_writes_a_line_of_their_own_into_the_log(server, lines):
    server.get("/v1/%0a2026-01-01 INFO fine%1b[2J")
    (line,) = lines(TextFormatter())
    assert "\n" not in line and "\x1b" not in line
