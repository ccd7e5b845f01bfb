"""Was this question in training: asked of a server in a repository, and of one that is nowhere."""

import json

import pytest

PATH = "/v1/refrain/training-rows"


def row(nth, question, answer="Yes."):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"id": f"0-a.jsonl:{nth}", "messages": turns}) + "\n"


def test_a_question_is_found_with_its_rows(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = serve()
    refused = running.post(PATH, {"text": "What is fog?"})
    assert refused.status_code == 404 and "dvc pull data/prepared" in refused.json()["error"]["message"]
    prepared = tmp_path / "data/prepared"
    prepared.mkdir(parents=True)
    (prepared / "train.jsonl").write_text(row(1, "What is fog?", "A low cloud.") + row(2, "What is mist?"))
    (prepared / "val.jsonl").write_text(row(3, "Who has seen the wind?"))
    (prepared / "test.jsonl").write_text("")
    found = running.post(PATH, {"text": "hello, what is FOG", "limit": 1}).json()
    assert found["asked_in"]["split"] == "train" and found["asked_in"]["id"] == "0-a.jsonl:1"
    (nearest,) = found["nearest"]
    assert (nearest["question"], nearest["answer"], nearest["line"]) == ("What is fog?", "A low cloud.", 1)
    assert found["is_data_of_model"] is None  # the model's manifest does not say
    assert running.post(PATH, {"text": "Who has seen the wind"}).json()["asked_in"]["split"] == "val"
    (prepared / "train.jsonl").write_text("{}\n")
    damaged = running.post(PATH, {"text": "What is fog?"})
    assert damaged.status_code == 409 and "dvc checkout" in damaged.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "text"),
        ({"text": 1}, 400, "text"),
        ({"text": "x", "limit": 0}, 400, "limit"),
        ({"text": "x", "limit": 51}, 400, "limit"),
        ({"text": "x" * 100_001}, 400, "text"),
        ({"text": "x", "limits": 1}, 400, "limits"),
        ({"text": "x", "model": "gpt-9"}, 404, "model"),
    ],
)
def test_what_has_no_meaning_is_refused(server, body, status, param):
    refused = server.post(PATH, body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)


def test_rows_are_not_for_strangers(server):
    refused = server.post(PATH, {"text": "x"}, headers={"X-Forwarded-For": "203.0.113.7"})
    assert refused.status_code == 403
