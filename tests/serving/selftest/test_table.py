"""The checks hold of our server, and find out one that takes everything and tells nothing."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from refrain.serving.selftest import table
from refrain.serving.selftest.client import OwnServer, Target
from refrain.serving.selftest.outcome import NotApplicableError, require
from refrain.serving.selftest.own_server import start_server

WITH_OWN_SERVERS = {4, 5, 28, 29, 30, 32, 33, 35, 38}  # a second or so for each
FROM_OUTSIDE = [check for check in table.CHECKS if check.number not in WITH_OWN_SERVERS]
NOT_TOLD = {1, 3, 12, 15, 16, *WITH_OWN_SERVERS}  # of a server that says nothing of itself
PASSED = {2, 9, 11, 31}  # even by the careless one, whose answers are all alike


class Careless(BaseHTTPRequestHandler):
    """Says the same to everybody, whatever is asked."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        streams = isinstance(body, dict) and body.get("stream")
        delta = {"content": "It is what it is."}
        choice = {"index": 0, "message": delta, "delta": delta, "finish_reason": "stop"}
        content = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})
        self.answer(f"data: {content}\n\ndata: [DONE]\n\n" if streams else content)

    def do_GET(self):
        if self.path == "/v1/models":
            return self.answer(json.dumps({"data": [{"id": "any"}]}))
        return self.send_error(404)

    def answer(self, content):
        self.send_response(200)
        headers = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        for name, value in {**headers, "Access-Control-Allow-Origin": "*"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


class ManyAtOnce(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def careless_server():
    server = ManyAtOnce(("127.0.0.1", 0), Careless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.heavy
@pytest.mark.parametrize("check", FROM_OUTSIDE, ids=lambda check: str(check.number))
def test_what_can_be_told_from_outside_holds_of_ours(check, server):
    (outcome,) = table.run_checks(Target(server.url), [check])
    assert outcome.state == ("n/a" if check.number == 12 else "ok"), outcome


@pytest.mark.heavy
@pytest.mark.parametrize("number", sorted(WITH_OWN_SERVERS))
def test_what_needs_a_server_of_its_own_holds_of_ours(number, served_folder):
    own = OwnServer(str(served_folder), served_folder)
    target = Target("http://127.0.0.1:9", own=own)
    (outcome,) = table.run_checks(target, [check for check in table.CHECKS if check.number == number])
    assert outcome.state == "ok", outcome
    assert not own.processes, "all have ended"


def test_a_careless_server_is_found_out():
    with careless_server() as url:
        found = {each.number: each for each in table.run_checks(Target(url))}
    assert {number for number, each in found.items() if each.state == "n/a"} == NOT_TOLD
    assert {number for number, each in found.items() if each.state == "ok"} == PASSED
    assert len(found) == 41 and all(each.evidence for each in found.values())


def test_every_check_has_its_number():
    assert [check.number for check in table.CHECKS] == list(range(1, 42))


def test_what_is_no_server_fails_each_check_and_ends():
    outcomes = list(table.run_checks(Target("http://127.0.0.1:9"), FROM_OUTSIDE[:3]))
    assert {each.state for each in outcomes} == {"fails"} and "refused" in outcomes[0].evidence


def test_outcomes_are_lines_and_a_count_of_each_kind():
    def hold(_):
        return "two\nlines"

    def fail(_):
        require(False, "it does not")

    def skip(_):
        raise NotApplicableError("nobody can tell")

    checks = [table.Check(number, "claim", run) for number, run in enumerate((hold, fail, skip), 1)]
    outcomes = list(table.run_checks(Target("http://127.0.0.1:9"), checks))
    assert [each.state for each in outcomes] == ["ok", "fails", "n/a"]
    assert outcomes[0].evidence == "two lines" and "\n" not in table.format_outcome(outcomes[0])
    assert table.summarise(outcomes) == "1 hold, 1 fail, 1 cannot be told"


def test_a_server_that_does_not_start_says_why(tmp_path):
    with (
        pytest.raises(ValueError, match=r"the server did not start: .*missing"),
        start_server(OwnServer(str(tmp_path / "missing"), tmp_path)),
    ):
        pass
