"""What an answer of a server comes from: words at once, influence by a process of its own."""

import pytest
import served_model
import traced_repository

from refrain.serving.settings.schema import ServeSettings


@pytest.fixture(scope="module")
def trained(base, adapter, onnx, rows, tmp_path_factory):
    return traced_repository.build(tmp_path_factory.mktemp("trained"), base, adapter, onnx, rows)


@pytest.fixture(scope="module")
def running(trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        with served_model.run_server(ServeSettings(model="models/onnx", port=0, threads=1)) as server:
            yield server


@pytest.mark.heavy
def test_an_answer_is_traced_by_its_id(running, rows):
    asked = [{"type": "text", "text": rows[3]["messages"][0]["content"]}]
    turns = [*rows[0]["messages"], {"role": "user", "content": asked}]
    answer = running.post("/v1/chat/completions", {"messages": turns, "max_tokens": 8}).json()
    told = running.get(f"/v1/refrain/trace/{answer['id']}?rows=2&influence=3").json()
    assert (told["id"], told["question"]) == (answer["id"], asked[0]["text"])
    assert told["answer"] == answer["choices"][0]["message"]["content"]
    assert (told["artifact"]["seal"], told["artifact"]["method"]) == (answer["refrain"]["seal"], "lora")
    assert told["words"]["asked_in"]["line"] == 3 and len(told["words"]["nearest"]) == 2
    assert len(told["influence"]["rows"]) == 3 and told["influence"]["compared"] == 14
    assert (repository_of(running) / ".influence").is_dir()


def repository_of(running):
    return running.server.models.default.folder.resolve().parents[2]


@pytest.mark.parametrize(
    ("path", "body", "question"),
    [
        ("/v1/completions", {"prompt": ["Hello there", "Bye"]}, "Bye"),
        ("/v1/completions", {"prompt": [1, 40, 41]}, ""),
        ("/v1/responses", {"input": "Hello", "instructions": "Be brief."}, "Hello"),
        ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}, "Hi"),
    ],
)
def test_the_question_of_every_kind_of_request_is_known(running, path, body, question):
    limit = "max_output_tokens" if "responses" in path else "max_tokens"
    answer = running.post(path, {**body, limit: 4}).json()
    told = running.get(f"/v1/refrain/trace/{answer['id']}").json()
    assert told["question"] == question and told["influence"] is None and "problem" not in told["words"]


def test_strangers_and_nonsense_are_refused(running):
    answer_id = running.chat().json()["id"]
    path = f"/v1/refrain/trace/{answer_id}"
    assert running.get(path, headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 403
    assert running.get("/v1/refrain/trace/none").status_code == 404
    for query, param in (("rows=-1", "rows"), ("influence=51", "influence"), ("rows=x", "rows")):
        refused = running.get(f"{path}?{query}")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
