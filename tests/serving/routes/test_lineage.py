"""Where answers come from, and answers said again."""

from pathlib import Path

import pytest

TWO = {"n": 2, "seed": 3, "temperature": 0.9, "stop": ["zz"], "logit_bias": {"65": -5}}


@pytest.fixture(scope="module")
def server_with_keys(serve, tmp_path_factory):
    """A server with two keys."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("secret-of-ann ann\nsecret-of-bob bob\n")
    return serve(keys=str(file))


def as_key(name):
    return {"headers": {"Authorization": f"Bearer secret-of-{name}"}}


def test_an_answer_tells_what_made_it(server):
    answer = server.chat("Hi<|im_end|>", **TWO).json()
    told = server.get(f"/v1/refrain/lineage/{answer['id']}").json()
    assert told["seal"] == answer["refrain"]["seal"] and told["is_served"] is True and told["variant"] == "int8"
    assert told["request"]["asked"] == {**TWO, "max_tokens": 8}
    assert (told["seed"], told["temperature"], told["stop"], told["logit_bias"]) == (3, 0.9, ["zz"], {"65": -5.0})
    assert told["texts"] == [choice["message"]["content"] for choice in answer["choices"]]
    assert "Hi<|im_end|>" in told["prompt"] and told["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    controls = [part["text"] for part in told["request"]["prompt_parts"] if part["is_control"]]
    assert controls and "Hi" not in "".join(controls)
    assert any("Hi<|im_end|>" in part["text"] for part in told["request"]["prompt_parts"] if not part["is_control"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_every_answer_can_be_said_again(server, path, stream):
    asked = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, **TWO},
        "/v1/completions": {"prompt": ["Hello", "Bye"], "max_tokens": 9, **TWO},
        "/v1/responses": {"input": "Hello", "max_output_tokens": 9, "temperature": 0.9},
    }[path]
    if not stream:
        answer_id = server.post(path, asked).json()["id"]
    elif path == "/v1/responses":
        answer_id = server.post(path, {**asked, "stream": True}).text.partition('"id":"')[2].partition('"')[0]
    else:
        answer_id = server.stream(path, asked)[-1]["id"]
    again = server.post(f"/v1/refrain/replay/{answer_id}").json()
    assert again["equal"] is True and again["reason"] is None
    assert [choice["index"] for choice in again["choices"]] == [*range(len(again["choices"]))]


def test_what_is_kept_of_replies_proves_nothing(serve):
    running = serve()
    answer = [running.chat(seed=5).json() for _ in range(2)][-1]
    hits = running.server.cache.hits
    assert answer["refrain"]["cache"] == "hit" and hits == 1
    assert running.post(f"/v1/refrain/replay/{answer['id']}").json()["equal"] is True
    assert running.server.cache.hits == hits


def test_an_answer_that_was_said_otherwise_is_shown_where(server):
    answer = server.chat(seed=5).json()
    kept = server.server.answers.find(answer["id"])
    kept.texts[0] = kept.texts[0][:2] + "\U0001f642" + kept.texts[0][3:]
    again = server.post(f"/v1/refrain/replay/{answer['id']}").json()
    assert again["equal"] is False and again["reason"] == "choice 0 differs from character 2 on"
    assert again["choices"][0]["before"].startswith("\U0001f642")


def test_what_another_artifact_said_is_not_said_again(serve):
    running = serve()
    answer = running.chat(seed=5).json()
    object.__setattr__(running.server.answers.find(answer["id"]), "seal", "0" * 64)
    refused = running.post(f"/v1/refrain/replay/{answer['id']}")
    assert refused.status_code == 409 and refused.json()["error"]["code"] == "other_artifact"
    told = running.get(f"/v1/refrain/lineage/{answer['id']}").json()
    assert told["is_served"] is False and told["prompt"] is None and "variant" not in told


@pytest.mark.parametrize("answer_id", ["chatcmpl-none", "%00", "a b", "\u00e9"])
def test_an_answer_that_is_not_known_is_404(server, answer_id):
    for refused in (server.get(f"/v1/refrain/lineage/{answer_id}"), server.post(f"/v1/refrain/replay/{answer_id}")):
        assert refused.status_code == 404 and refused.json()["error"]["code"] == "answer_not_found"


def test_an_answer_is_for_the_key_that_asked(server_with_keys):
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    answer = server_with_keys.post("/v1/chat/completions", body, **as_key("ann"))
    path = f"/v1/refrain/lineage/{answer.json()['id']}"
    assert server_with_keys.get(path, **as_key("ann")).status_code == 200
    assert (
        server_with_keys.get(path, **as_key("bob")).status_code == 404 and server_with_keys.get(path).status_code == 401
    )


def test_responses_and_sessions_are_for_the_key_that_asked(server_with_keys):
    response = server_with_keys.post("/v1/responses", {"input": "Hi", "max_output_tokens": 3}, **as_key("ann")).json()
    assert server_with_keys.get(f"/v1/responses/{response['id']}", **as_key("ann")).status_code == 200
    assert server_with_keys.get(f"/v1/responses/{response['id']}", **as_key("bob")).status_code == 404
    body = {"input": "Hi", "previous_response_id": response["id"]}
    assert (
        server_with_keys.post("/v1/responses", body, **as_key("bob")).json()["error"]["code"]
        == "previous_response_not_found"
    )


def test_the_models_tell_where_they_are_from(server, served_folder):
    told = server.get("/v1/refrain/lineage").json()
    assert told["models"] == ["refrain", "refrain:fp32", "refrain:int8"]
    first = told["data"][0]
    assert (first["model"], first["variant"], first["base"]) == ("refrain", "int8", None)
    assert str(Path(served_folder)) not in str(told)  # no path of this machine
