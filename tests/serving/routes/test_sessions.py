"""Chats that the page keeps on the server, and conversations of responses beside them."""

import json

import pytest

CHAT = {"title": "Fog \U0001f642", "turns": [{"role": "user", "content": "caf\u00e9 \u2028"}], "seed": 1}
PATH = "/v1/refrain/sessions"


@pytest.fixture(scope="module")
def kept(serve, tmp_path_factory):
    return serve(sessions=str(tmp_path_factory.mktemp("sessions")))


@pytest.fixture(autouse=True)
def empty(kept):
    kept.client.delete(PATH)


def put(kept, name, chat=CHAT):
    return kept.client.put(f"{PATH}/{name}", content=json.dumps(chat))


def test_a_chat_is_kept_listed_and_forgotten(kept):
    assert put(kept, "a").status_code == 200
    assert kept.get(f"{PATH}/a").json() == CHAT
    (listed,) = kept.get(PATH).json()["data"]
    assert (listed["kind"], listed["id"], listed["title"]) == ("chat", "a", CHAT["title"])
    assert kept.client.delete(f"{PATH}/a").json()["deleted"] is True
    assert kept.client.delete(f"{PATH}/a").status_code == kept.get(f"{PATH}/a").status_code == 404


def test_conversations_of_responses_are_sessions_too(kept):
    first = kept.post("/v1/responses", {"input": "What is\nfog?", "max_output_tokens": 3}).json()
    body = {"input": "And mist?", "previous_response_id": first["id"], "max_output_tokens": 3}
    second = kept.post("/v1/responses", body).json()
    (listed,) = kept.get(PATH).json()["data"]
    assert (listed["kind"], listed["id"], listed["title"]) == ("response", second["id"], "And mist?")
    told = kept.get(f"{PATH}/{second['id']}").json()
    assert [each["response"] for each in told["responses"]] == [first, second]
    assert told["responses"][0]["input_items"][0]["content"][0]["text"] == "What is\nfog?"
    assert kept.client.delete(f"{PATH}/{second['id']}").status_code == 200
    assert kept.get(f"/v1/responses/{first['id']}").status_code == 404


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_everything_is_exported_and_everything_is_deleted(kept, form):
    response = kept.post("/v1/responses", {"input": "Hi", "max_output_tokens": 3}).json()
    put(kept, "b")
    put(kept, "a")
    exported = kept.get(f"{PATH}/export", params={"format": form})
    rows = exported.json() if form == "json" else [json.loads(line) for line in exported.text.splitlines()]
    assert [row["kind"] for row in rows] == ["chat", "chat", "response"] and rows[2]["response"] == response
    assert rows[0] == {"kind": "chat", "id": "a", "content": CHAT} or rows[0]["id"] == "b"
    assert f"sessions.{form}" in exported.headers["content-disposition"]
    assert kept.client.delete(PATH).json()["deleted"] == 3
    again = kept.get(f"{PATH}/export", params={"format": form})
    assert again.text == ("[\n]\n" if form == "json" else "") and kept.get(PATH).json()["data"] == []


def test_long_lists_come_in_pages(kept):
    for name in "abcde":
        put(kept, name)
    pages = [kept.get(PATH, params={"limit": 2, "offset": offset}).json() for offset in (0, 2, 4)]
    assert sorted(row["id"] for page in pages for row in page["data"]) == [*"abcde"]
    assert [page["has_more"] for page in pages] == [True, True, False]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "param"),
    [
        ("PUT", "/a", "[]", 400, None),
        ("PUT", "/a", "{", 400, None),
        ("PUT", "/a", "[" * 10_000, 400, None),
        ("PUT", "/a%2Fb", "{}", 404, None),
        ("PUT", "/a%20b", "{}", 400, "id"),
        ("PUT", f"/{'a' * 101}", "{}", 400, "id"),
        ("GET", "/none", "", 404, "id"),
        ("GET", "/export?format=xml", "", 400, "format"),
        ("GET", "?limit=0", "", 400, "limit"),
        ("GET", "?limit=1e3", "", 400, "limit"),
        ("GET", "?offset=-1", "", 400, "offset"),
        ("GET", f"?offset={'9' * 5000}", "", 400, "offset"),
        ("POST", "", "{}", 405, None),
    ],
)
def test_what_has_no_meaning_is_refused(kept, method, path, content, status, param):
    answer = kept.client.request(method, f"{PATH}{path}", content=content)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_a_full_disk_is_named_and_what_was_there_stays(serve, tmp_path):
    running = serve(sessions=str(tmp_path))
    put(running, "a")
    running.server.sessions._connection.execute("PRAGMA max_page_count = 1")  # as many as there are
    for name in ("a", "b"):
        refused = put(running, name, {"text": "x" * 50_000})
        assert refused.status_code == 507 and refused.json()["error"]["code"] == "not_stored"
        assert f"{name}: the chat was not stored (database or disk is full)" in refused.json()["error"]["message"]
    assert running.get(f"{PATH}/a").json() == CHAT


def test_without_a_folder_nothing_is_kept_and_strangers_see_nothing(server, kept):
    refused = server.get(PATH)
    assert refused.status_code == 404 and "--sessions FOLDER" in refused.json()["error"]["message"]
    assert kept.get(PATH, headers={"X-Forwarded-For": "203.0.113.7"}).json()["error"]["code"] == "local_only"
