"""A better answer, sent as the page sends it, becomes a line that prepare reads."""

import json
from pathlib import Path

import pytest

PATH = "/v1/refrain/feedback"
ASKED = [{"role": "user", "content": "What is fog?"}]
ANSWER = {"role": "assistant", "content": "A low cloud."}


@pytest.fixture(scope="module")
def taking(serve, tmp_path_factory):
    """A server that keeps feedback in a file of its own."""
    return serve(feedback=str(tmp_path_factory.mktemp("feedback") / "said.jsonl"))


def read(answer):
    return [json.loads(line) for line in Path(answer.json()["file"]).read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"messages": [*ASKED, ANSWER]}, "said.jsonl"),
        ({"messages": [*ASKED, ANSWER], "label": False}, "said.jsonl"),
        ({"prompt": ASKED, "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "Sand."}]}, "said-pairs.jsonl"),
        ({"prompt": "What is fog?", "chosen": "A cloud.", "rejected": "Sand."}, "said-pairs.jsonl"),
    ],
)
def test_a_row_is_kept_as_it_was_given(taking, body, name):
    answer = taking.post(PATH, body)
    assert answer.status_code == 200 and answer.json()["file"].endswith(name)
    assert read(answer)[-1] == {"id": answer.json()["id"], **body}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": ASKED}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [*ASKED, ANSWER], "chosen": "x"}, "messages"),
        ({"messages": [*ASKED, ANSWER], "label": 1}, "label"),
        ({"prompt": "What?", "chosen": "x"}, "rejected"),
        ({"prompt": "What?", "chosen": "x", "rejected": "x"}, "prompt"),
        ({"prompt": "What?", "chosen": "x", "rejected": "y", "label": True}, "label"),
        ({"mesages": []}, "mesages"),
    ],
)
def test_what_could_not_be_learned_is_refused_and_not_written(taking, body, param):
    before = read(taking.post(PATH, {"messages": [*ASKED, ANSWER]}))
    refused = taking.post(PATH, body)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param
    assert len(read(taking.post(PATH, {"messages": [*ASKED, ANSWER]}))) == len(before) + 1


def test_it_goes_to_the_repository_or_nowhere(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = serve()
    refused = running.post(PATH, {"messages": [*ASKED, ANSWER]})
    assert refused.status_code == 404 and "the setting feedback" in refused.json()["error"]["message"]
    assert not list(tmp_path.rglob("*.jsonl"))
    for folder in ("conf", "data/raw"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    assert running.post(PATH, {"messages": [*ASKED, ANSWER]}).json()["file"] == "data/raw/feedback.jsonl"
    assert len((tmp_path / "data/raw/feedback.jsonl").read_text().splitlines()) == 1


def test_strangers_and_links_change_nothing(serve, tmp_path):
    (tmp_path / "cached").write_text("")
    (tmp_path / "said.jsonl").symlink_to(tmp_path / "cached")
    running = serve(feedback=str(tmp_path / "said.jsonl"))
    body = {"messages": [*ASKED, ANSWER]}
    assert running.post(PATH, body, headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 403
    refused = running.post(PATH, body)
    assert refused.status_code == 409 and "dvc unprotect" in refused.json()["error"]["message"]
    assert (tmp_path / "cached").read_text() == ""
