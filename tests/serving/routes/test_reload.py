"""Another model in the same place, while the old one speaks."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dvc.repo import Repo

from refrain.pipeline import manifest
from refrain.runtime import onnx_folder
from refrain.serving.settings.schema import CacheSettings

PROMPTS = ["one", "two", "three", "four"]
WEIGHTS = onnx_folder.EXTERNAL_DATA


@pytest.fixture
def folder(served_folder, tmp_path):
    return shutil.copytree(served_folder, tmp_path / "onnx")


@pytest.fixture
def served_copy(folder, serve):
    return serve(model=str(folder))


@pytest.fixture(scope="module")
def server_with_admin_key(serve):
    return serve(admin_key=f"sha256:{hashlib.sha256(b'open sesame').hexdigest()}")


def rename_over_best(folder):
    """The files of another variant in place of the best one's, each renamed over the old, and their manifest."""
    for file in (folder / "fp32").iterdir():
        part = folder / "best" / "part"
        part.write_bytes(file.read_bytes())
        part.replace(folder / "best" / file.name)
    manifest.write_manifest(folder, {"best": "fp32"})


@pytest.fixture(params=["rename", pytest.param("dvc checkout", marks=pytest.mark.heavy)])
def replace_best(request, folder, monkeypatch):
    """A function that puts the other model in place of the best one."""
    if request.param == "rename":
        yield lambda: rename_over_best(folder)
        return
    monkeypatch.chdir(folder.parent)
    shutil.copytree(folder, "first")
    record = Path(f"{folder.name}.dvc")
    with Repo.init(no_scm=True) as repo:
        rename_over_best(folder)
        repo.add(folder.name)
        other = record.read_text()
        shutil.rmtree(folder)
        shutil.copytree("first", folder)
        repo.add(folder.name)

        def check_out():
            record.write_text(other)
            repo.checkout(force=True)

        yield check_out


def ask(server, prompt, **fields):
    answer = server.chat(prompt, temperature=0, max_tokens=60, **fields).json()
    return answer["choices"][0]["message"]["content"], answer["system_fingerprint"]


def ask_for_stream(server, prompt):
    """What ask gives, of a stream."""
    messages = [{"role": "user", "content": prompt}]
    events = server.stream("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 60})
    texts = [event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]]
    return "".join(texts), events[-1]["system_fingerprint"]


def test_what_runs_ends_on_the_old_model_and_what_comes_begins_on_the_new(replace_best, served_copy, monkeypatch):
    cache, pool = served_copy.server.cache, served_copy.server.models
    expected = [ask(served_copy, prompt) for prompt in PROMPTS]
    cache.configure(CacheSettings(max_bytes=0))
    old, answers = pool.default.backend, []

    def replace_when_all_run():
        """Between two steps, with every stream in a slot: the rename, and the reload to its end."""
        while not answers and pool.num_running() + pool.num_waiting() < len(PROMPTS):
            pass
        if not answers and old.num_running() == len(PROMPTS):
            replace_best()
            answers.append(served_copy.post("/v1/refrain/reload").json())

    step = old._engine.step
    monkeypatch.setattr(old._engine, "step", lambda: (replace_when_all_run(), step()))
    with ThreadPoolExecutor(len(PROMPTS)) as executor:
        streams = list(executor.map(lambda prompt: ask_for_stream(served_copy, prompt), PROMPTS))
    assert streams == expected, "the weights that are open are those that were"
    (changed,) = answers[0]["models"]
    assert changed["variant"] == "fp32" and changed["previous_seal"].startswith(expected[0][1])
    cache.configure(CacheSettings())
    text, seal = ask(served_copy, "one")
    assert seal == changed["seal"][:16] != expected[0][1]
    assert text == ask(served_copy, "one", model="refrain:fp32")[0]
    while old in pool._retired:
        pass
    assert not old.is_alive(), "it has left when it had nothing more to say"


def test_what_was_kept_of_another_model_is_not_said(served_copy, folder):
    cache = served_copy.server.cache
    first = ask(served_copy, "one")
    assert ask(served_copy, "one") == first and cache.hits == 1
    rename_over_best(folder)
    assert served_copy.post("/v1/refrain/reload").status_code == 200
    assert ask(served_copy, "one") != first and cache.hits == 1


def test_what_is_damaged_changes_nothing(served_copy, folder):
    before = ask(served_copy, "one")
    content = bytearray((folder / "best" / WEIGHTS).read_bytes())
    content[100] ^= 1
    part = folder / "best" / "part"
    part.write_bytes(content)
    part.replace(folder / "best" / WEIGHTS)
    refusal = served_copy.post("/v1/refrain/reload")
    assert refusal.status_code == 409 and refusal.json()["error"]["code"] == "artifact_damaged"
    assert f"{WEIGHTS}: checksum mismatch" in refusal.json()["error"]["message"]
    shutil.rmtree(folder / "best")
    assert "checksum" not in served_copy.post("/v1/refrain/reload").json()["error"]["message"]
    assert ask(served_copy, "one") == before and ask(served_copy, "1 more")[1] == before[1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.7"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer open sesame"}, 200),
        ({"X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer é"}, 403),
    ],
)
def test_it_is_for_this_machine_and_for_whoever_has_the_key(server_with_admin_key, headers, status):
    response = server_with_admin_key.post("/v1/refrain/reload", headers=[(k, v.encode()) for k, v in headers.items()])
    assert response.status_code == status, response.text
