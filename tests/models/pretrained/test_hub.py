"""What the Hub publishes arrives as it was published, or is refused in one sentence."""

import json
import os
import subprocess
import sys

import forked_python
import pytest
from hub_repository import CONFIG, ID, REFUSED, REFUSED_SHARDS, TAKEN, contents, cut, publish, sharded
from hub_server import serve, sha256
from places import ROOT

from refrain.models.pretrained import snapshot

TOKEN = "hf_SecretThatNobodyMaySee"
FETCH = """
import logging, sys
from pathlib import Path
from refrain.models.pretrained import hub
logging.basicConfig(level=logging.DEBUG)
hub.download_snapshot(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


@pytest.fixture
def model(tmp_path):
    return publish(tmp_path / "hub")


@pytest.fixture
def hub(tmp_path, model):
    with serve(tmp_path / "hub") as hub:
        yield hub


def fetch(hub, out, repository=ID, revision="main", python=forked_python.run, **environment):
    """hub.fetch in a process of its own, because the client reads its environment when it is imported."""
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    places = {"HF_HOME": str(out.parent / "cache"), "HF_ENDPOINT": hub.endpoint}
    environment = {**kept, **places, **environment}
    return python(FETCH, repository, revision, str(out), outputs=out.parent, environment=environment)


def fresh_python(code, *arguments, outputs, environment):
    """From the very start, as a person would."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def refusal(done):
    """The one sentence of a run that was refused, its way out after the semicolon."""
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ") and "; " in last
    return last.removeprefix("ValueError: ")


def test_main_is_resolved_to_a_commit_that_is_recorded_with_every_hash(hub, model, tmp_path):
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert json.loads((tmp_path / "out/source.json").read_text()) == {
        "hub": ID,
        "revision": "main",
        "commit": hub.commit(ID),
        "files": {name: sha256(model / name) for name in TAKEN},
    }


def test_only_the_files_that_are_needed_are_fetched_and_copied_as_real_files(hub, model, tmp_path):
    done = fetch(hub, tmp_path / "out", python=fresh_python)
    assert done.returncode == 0 and "Fetching" not in done.stderr  # no progress bar in a log
    assert sorted(path.split("/", 5)[-1] for path in hub.fetched()) == TAKEN
    assert {name: data for name, data in contents(tmp_path / "out").items() if name != "source.json"} == {
        name: (model / name).read_bytes() for name in TAKEN
    }
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_a_commit_can_be_named_itself(hub, tmp_path):
    commit = hub.commit(ID)
    assert fetch(hub, tmp_path / "out", revision=commit).returncode == 0
    assert json.loads((tmp_path / "out/source.json").read_text())["commit"] == commit


def test_shards_arrive_whole(hub, model, tmp_path):
    sharded(model)
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) == len(hub.fetched(".safetensors")) == 2
    snapshot.check_folder(tmp_path / "out")


def test_offline_afterwards_gives_the_same_bytes(hub, tmp_path):
    assert fetch(hub, tmp_path / "first").returncode == 0
    asked = len(hub.log)
    assert fetch(hub, tmp_path / "second", HF_HUB_OFFLINE="1").returncode == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert len(hub.log) == asked


@pytest.mark.heavy
def test_main_that_moved_is_followed_online_and_stays_put_offline(hub, model, tmp_path):
    before = hub.commit(ID)
    assert fetch(hub, tmp_path / "out").returncode == 0
    (model / "config.json").write_text(json.dumps(CONFIG | {"rope_theta": 500.0}))
    assert fetch(hub, tmp_path / "out", HF_HUB_OFFLINE="1").returncode == 0
    assert json.loads((tmp_path / "out/source.json").read_text())["commit"] == before
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert json.loads((tmp_path / "out/source.json").read_text())["commit"] == hub.commit(ID) != before


def test_what_was_in_out_before_is_gone_even_after_a_refusal(hub, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.safetensors").write_bytes(b"old")
    (model / "tokenizer.json").unlink()
    refusal(fetch(hub, tmp_path / "out"))
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("repository", "revision", "words"),
    [
        ("owner/none", "main", ["owner/none@main", "no such repository", "HF_TOKEN"]),
        (ID, "v9", [f"{ID}@v9", "no such revision", "model.revision"]),
        ("not/a/name", "main", ["not the name of a repository", "owner/name"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_setting_to_change(hub, tmp_path, repository, revision, words):
    sentence = refusal(fetch(hub, tmp_path / "out", repository, revision))
    assert all(word in sentence for word in words)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(401, "GatedRepo", "gated"), (403, "GatedRepo", "gated"), (403, "", "denied"), (401, "", "HF_TOKEN")],
)
def test_a_closed_repository_is_refused_with_the_way_in(hub, tmp_path, status, code, words):
    hub.refused[ID] = (status, code)
    sentence = refusal(fetch(hub, tmp_path / "out"))
    assert words in sentence and "HF_TOKEN" in sentence
    assert contents(tmp_path / "out") == {}


@pytest.mark.heavy
def test_the_token_opens_a_private_repository_and_is_seen_by_the_server_only(hub, tmp_path):
    hub.private[ID] = TOKEN
    assert "HF_TOKEN" in refusal(fetch(hub, tmp_path / "out"))
    done = fetch(hub, tmp_path / "out", HF_TOKEN=TOKEN)
    assert done.returncode == 0
    assert TOKEN in {request.token for request in hub.log}
    hub.refused[ID] = (403, "")
    (tmp_path / "cache/hub").rename(tmp_path / "elsewhere")
    failed = fetch(hub, tmp_path / "again", HF_TOKEN=TOKEN)
    assert failed.returncode == 1
    assert TOKEN not in done.stdout + done.stderr + failed.stdout + failed.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2 * len(TAKEN)
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def test_no_connection_is_said_with_the_ways_round_it_even_if_the_cache_has_all(hub, tmp_path):
    assert fetch(hub, tmp_path / "out").returncode == 0
    with serve(tmp_path) as closed:
        pass
    sentence = refusal(fetch(closed, tmp_path / "out"))
    assert all(word in sentence for word in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "model=folder"))


def test_offline_without_a_cache_is_refused(hub, tmp_path):
    assert "unset HF_HUB_OFFLINE" in refusal(fetch(hub, tmp_path / "out", HF_HUB_OFFLINE="1"))
    assert hub.log == []


@pytest.mark.heavy
def test_a_download_that_breaks_off_is_refused_and_the_next_run_has_the_whole_file(hub, model, tmp_path):
    hub.cut.add("model.safetensors")
    assert "run again" in refusal(fetch(hub, tmp_path / "out"))
    assert contents(tmp_path / "out") == {}
    assert "in the cache: no weights" in refusal(fetch(hub, tmp_path / "out", HF_HUB_OFFLINE="1"))
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


@pytest.mark.heavy
@pytest.mark.parametrize("honest", [True, False])
def test_a_download_that_goes_on_from_a_part_ends_whole_or_refused(hub, model, tmp_path, honest):
    hub.cut.add("model.safetensors")
    refusal(fetch(hub, tmp_path / "out"))
    whole = (model / "model.safetensors").read_bytes()
    part = next((tmp_path / "cache").rglob("*.incomplete"))
    part.write_bytes(whole[:20_000] if honest else whole[:19_000] + bytes(1_000))
    done = fetch(hub, tmp_path / "out")
    assert "bytes=20000-" in {request.range for request in hub.log}
    if honest:
        assert (tmp_path / "out/model.safetensors").read_bytes() == whole
    else:
        assert "not what was published" in refusal(done)
        assert contents(tmp_path / "out") == {}


def test_weights_that_changed_in_the_cache_are_refused(hub, tmp_path):
    assert fetch(hub, tmp_path / "out").returncode == 0
    blob = next((tmp_path / "cache").rglob("snapshots/*/model.safetensors")).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    assert "not what was published" in refusal(fetch(hub, tmp_path / "out", HF_HUB_OFFLINE="1"))


@pytest.mark.parametrize(
    "kind",
    [
        "pytorch_model.bin",
        "slow tokenizer only",
        "_attn_implementation_internal in config.json",
        "auto_map in tokenizer_config.json",
    ],
)
def test_of_a_refused_repository_no_weight_is_fetched(hub, model, tmp_path, kind):
    change, words = REFUSED[kind]
    change(model)
    sentence = refusal(fetch(hub, tmp_path / "out"))
    assert all(word in sentence for word in [f"{ID}@main", *words])
    assert not any(hub.fetched(ending) for ending in (".safetensors", ".bin"))


def test_a_repository_whose_index_lies_is_refused_before_its_shards(hub, model, tmp_path):
    REFUSED_SHARDS["missing shard"][0](model)
    assert "model-00003" in refusal(fetch(hub, tmp_path / "out"))
    assert hub.fetched(".safetensors") == []


def test_a_repository_with_weights_that_were_published_broken_is_refused(hub, model, tmp_path):
    cut(model)
    assert "cut short" in refusal(fetch(hub, tmp_path / "out"))
    assert contents(tmp_path / "out") == {}


def test_neither_torch_nor_transformers_is_loaded():
    code = "import sys, refrain.models.pretrained.hub; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
