"""Which names the server answers to, and what a page of elsewhere may do."""

import pytest

PAGE = "https://page.example"


@pytest.fixture(scope="module")
def open_to_page(serve):
    return serve(origins=[PAGE], hosts=["chat.example"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST.", "[::1]:1", "a.localhost"])
def test_names_of_this_machine_are_answered(server, host):
    assert server.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[", "é", ""])
def test_other_names_are_not(server, host):
    answer = server.get("/v1/models", headers={"Host": host.encode()})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "bad_host")


def test_probes_are_answered_under_any_name(server):
    assert server.get("/healthz", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_names_in_the_settings_are_answered(open_to_page):
    assert open_to_page.get("/v1/models", headers={"Host": "chat.example"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[", "https://127.0.0.1.evil.example"])
def test_a_page_of_elsewhere_reads_nothing_and_changes_nothing(server, origin):
    read = server.get("/v1/models", headers={"Origin": origin})
    assert not [name for name in read.headers if name.startswith("access-control")]
    changed = server.post("/v1/chat/completions", {}, headers={"Origin": origin})
    assert (changed.status_code, changed.json()["error"]["code"]) == (403, "bad_origin")


def test_the_servers_own_page_may_ask(server):
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    assert server.post("/v1/chat/completions", body, headers={"Origin": server.url}).status_code == 200


def test_a_page_that_is_listed_may_ask_and_is_the_only_one_named(open_to_page):
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    told = open_to_page.client.options("/v1/chat/completions", headers=asks)
    assert (told.status_code, told.headers["access-control-allow-origin"]) == (204, PAGE)
    assert "authorization" in told.headers["access-control-allow-headers"].lower()
    answer = open_to_page.get("/v1/models", headers={"Origin": PAGE})
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (PAGE, "Origin")
    assert "access-control-allow-credentials" not in answer.headers
    other = open_to_page.get("/v1/models", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers
