"""A server from its first to its last second: signals to real processes, probes, addresses."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
import traced_model
from places import ROOT
from raw_http import POST, connect

from refrain.serving.process.listening import open_sockets

pytestmark = pytest.mark.heavy
BODY = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
NEVER_ENDS = {str(256 + number): -100 for number in range(len(traced_model.SPECIAL))}
LONG = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000, "temperature": 0, "stream": True}
LONG |= {"logit_bias": NEVER_ENDS}


class Process:
    """`refrain serve` as a person starts it."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "refrain.cli.main", "serve", folder, "--port=0", "--threads=1", *options]
        self.process = subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("REFRAIN_")},
        )  # fmt: skip
        self.greeting = self.process.stdout.readline()
        self.url = re.search(r"http://[\d.:]+", self.greeting)[0]

    def read_log(self, *wanted):
        """The log until all that is wanted has come."""
        lines = ""
        while not all(part in lines for part in wanted):
            line = self.process.stderr.readline()
            assert line, lines
            lines += line
        return lines

    def end(self):
        """How it has ended, and what else it has logged."""
        log = self.process.communicate(timeout=120)[1]
        return self.process.returncode, log


@contextmanager
def running(folder, *options):
    server = Process(folder, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


@contextmanager
def held_request(server):
    """A request whose body has not come yet; what is given sends it."""
    with connect(server) as client:
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
        httpx.get(f"{server.url}/healthz")  # read after it, so it is among those that are being answered
        yield client


def wait_until_draining(server):
    while (answer := httpx.get(f"{server.url}/readyz")).status_code == 200:
        pass
    assert (answer.status_code, answer.json()) == (503, {"status": "draining"})


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_what_has_begun_is_answered_and_what_is_new_is_refused(served_folder, end):
    with running(served_folder) as server, ExitStack() as stack:
        assert re.fullmatch(rf"{server.url} serves refrain: int8 of \S+/best, threads: 1\n", server.greeting)
        held = stack.enter_context(held_request(server))
        stream = stack.enter_context(httpx.stream("POST", f"{server.url}/v1/chat/completions", json=LONG))
        lines = stream.iter_lines()
        next(lines)
        server.process.send_signal(end)
        wait_until_draining(server)
        refused = httpx.post(f"{server.url}/v1/chat/completions", content=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert list(lines)[-2] == "data: [DONE]"
        held.sendall(BODY)
        assert held.recv(65536).startswith(b"HTTP/1.1 200")
        status, log = server.end()
    assert status == 0 and "Traceback" not in log and "exception" not in log


def test_what_is_not_done_in_time_is_told_so(served_folder):
    with running(served_folder, "--drain=0", "--max-num-seqs=1", "--cache-max-bytes=0") as server, ExitStack() as stack:
        url = f"{server.url}/v1/chat/completions"
        streams = [stack.enter_context(httpx.stream("POST", url, json=LONG)) for _ in range(24)]
        server.process.terminate()
        lines = []
        with suppress(httpx.RemoteProtocolError):  # the connection ends within the stream
            for line in streams[-1].iter_lines():  # of the one that is the last in the queue
                lines += [line] if line else []
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "draining"
        status, log = server.end()
    assert status == 0 and "Traceback" not in log and "were not answered in time" in log


def test_a_second_signal_waits_for_nobody(served_folder):
    with running(served_folder) as server, held_request(server):
        server.process.terminate()
        wait_until_draining(server)
        server.process.terminate()
        assert server.end()[0] == 128 + signal.SIGTERM


def test_settings_change_under_way_by_their_file_or_a_signal(served_folder, tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("timeout: 60")
    with running(served_folder, "--config", file) as server:
        file.write_text("timeout: 61\nmax_num_seqs: 2\nlog: {level: inf}")
        server.read_log("stay as they are: " + str(file) + ": log.level: 'inf' is not one of")
        file.write_text("timeout: 61\nmax_num_seqs: 2\nlog: {format: json}")
        log = server.read_log("max_num_seqs: 8 -> 2 needs a restart", "timeout: 60.0 -> 61.0 from now on")
        assert json.loads(log.splitlines()[-1])["level"] == "info"
        os.utime(file, (0, 0))
        server.process.send_signal(signal.SIGHUP)
        server.read_log("max_num_seqs: 8 -> 2 needs a restart")
        assert httpx.post(f"{server.url}/v1/chat/completions", content=BODY).status_code == 200


def test_an_engine_that_has_died_is_told_to_everybody(serve):
    broken = serve()
    assert broken.get("/readyz").json() == {"status": "ready"}
    broken.server.models.default.backend._engine = None
    assert broken.chat().status_code == 503
    assert [broken.get(path).status_code for path in ("/healthz", "/readyz", "/v1/models")] == [500, 503, 503]
    assert broken.chat().json()["error"]["code"] == "engine_failed"


def test_an_address_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"127\.0\.0\.1:{port}: another program listens there; .* choose another"):
            open_sockets("127.0.0.1", port, has_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "8.8.8.8"])
def test_what_others_can_reach_needs_a_key(host):
    with pytest.raises(ValueError, match="requests need no key; set REFRAIN_SERVE_API_KEY"):
        open_sockets(host, 0, has_keys=False)


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("no.such.host.invalid", "is no address"),
        ("a" * 70, "is no address"),
        ("", "is no address"),
        ("8.8.8.8", "no such"),
    ],
)
def test_an_address_that_is_none_of_this_machine_is_one_sentence(host, told):
    with pytest.raises(ValueError, match=told):
        open_sockets(host, 0, has_keys=True)


def test_a_name_of_several_addresses_has_one_port():
    sockets = open_sockets("localhost", 0, has_keys=False)
    assert len({opened.getsockname()[1] for opened in sockets}) == 1
    for opened in sockets:
        opened.close()


def test_a_piece_is_sent_when_it_is_there_not_when_the_last_one_was_acknowledged():
    (opened,) = open_sockets("127.0.0.1", 0, False)

    async def accept():
        accepted = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=opened):
            _, client = await asyncio.open_connection(*opened.getsockname())
            server_side = await accepted
            delays = not server_side.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for writer in (client, server_side):
                writer.close()
            return delays

    assert not asyncio.run(accept())
