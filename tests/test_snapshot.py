"""A folder of published weights is what was published, or it is refused in one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import serve, sha256
from safetensors.numpy import save_file

from refrain import snapshot

ROOT = Path(__file__).parent.parent
ID = "owner/tiny-chat"
TOKEN = "hf_SecretThatNobodyMaySee"
TAKEN = [
    "LICENSE",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
FETCH = """
import logging, sys
from pathlib import Path
from refrain import snapshot
logging.basicConfig(level=logging.DEBUG)
snapshot.from_hub(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


@pytest.fixture
def model(tmp_path):
    """A repository as they are: the weights as a pickle and for another runtime too, a card, a picture."""
    folder = tmp_path / "hub" / ID
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "generation_config.json").write_text('{"eos_token_id": 2}')
    # "auto_map" as a word of the vocabulary is no setting
    (folder / "tokenizer.json").write_bytes('{"vocab": {"auto_map": 0, "é🌱": 1}}'.encode())
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_bytes("{{ messages }}\r\n🌱".encode())
    (folder / "LICENSE").write_text("Apache 2.0")
    (folder / "LICENSES").mkdir()
    (folder / "LICENSES" / "fonts.txt").write_text("OFL 1.1")
    (folder / "README.md").write_text("# Tiny chat")
    (folder / "bird.png").write_bytes(b"\x89PNG")
    weights(folder / "model.safetensors")
    weights(folder / "onnx" / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return folder


@pytest.fixture
def hub(tmp_path, model):
    with serve(tmp_path / "hub") as hub:
        yield hub


def weights(path, names="ab"):
    rng = np.random.default_rng(7)
    save_file({name: rng.random((64, 64), dtype=np.float32) for name in names}, path)


def sharded(folder):
    """The same tensors in two files and an index."""
    (folder / "model.safetensors").unlink()
    shards = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate("ab", start=1)}
    for name, shard in shards.items():
        weights(folder / shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def fetch(hub, out, repository=ID, revision="main", **environment):
    """from_hub in a fresh interpreter, because the client reads its environment when it is imported."""
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    places = {"HF_HOME": str(out.parent / "cache"), "HF_ENDPOINT": hub.endpoint}
    return subprocess.run(
        [sys.executable, "-c", FETCH, repository, revision, str(out)],
        cwd=ROOT,
        env={**kept, **places, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(done):
    """The one sentence of a run that was refused, its way out after the semicolon."""
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ") and "; " in last
    return last.removeprefix("ValueError: ")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_main_is_resolved_to_a_commit_that_is_recorded_with_every_hash(hub, model, tmp_path):
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert json.loads((tmp_path / "out/source.json").read_text()) == {
        "hub": ID,
        "revision": "main",
        "commit": hub.commit(ID),
        "files": {name: sha256(model / name) for name in TAKEN},
    }


def test_only_the_files_that_are_needed_are_fetched_and_copied_as_real_files(hub, model, tmp_path):
    done = fetch(hub, tmp_path / "out")
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
    snapshot.check(tmp_path / "out")


def test_offline_afterwards_gives_the_same_bytes(hub, tmp_path):
    assert fetch(hub, tmp_path / "first").returncode == 0
    asked = len(hub.log)
    assert fetch(hub, tmp_path / "second", HF_HUB_OFFLINE="1").returncode == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert len(hub.log) == asked


def test_main_that_moved_is_followed_online_and_stays_put_offline(hub, model, tmp_path):
    before = hub.commit(ID)
    assert fetch(hub, tmp_path / "out").returncode == 0
    (model / "config.json").write_text('{"model_type": "qwen2"}')
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


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(401, "GatedRepo", "gated"), (403, "GatedRepo", "gated"), (403, "", "denied"), (401, "", "HF_TOKEN")],
)
def test_a_closed_repository_is_refused_with_the_way_in(hub, tmp_path, status, code, words):
    hub.refused[ID] = (status, code)
    sentence = refusal(fetch(hub, tmp_path / "out"))
    assert words in sentence and "HF_TOKEN" in sentence
    assert contents(tmp_path / "out") == {}


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


def test_a_download_that_breaks_off_is_refused_and_the_next_run_has_the_whole_file(hub, model, tmp_path):
    hub.cut.add("model.safetensors")
    assert "run again" in refusal(fetch(hub, tmp_path / "out"))
    assert contents(tmp_path / "out") == {}
    assert "in the cache: no weights" in refusal(fetch(hub, tmp_path / "out", HF_HUB_OFFLINE="1"))
    assert fetch(hub, tmp_path / "out").returncode == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


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


def without(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def writing(name, text):
    return lambda folder: (folder / name).write_text(text)


def pickled(name):
    """Weights in a pickle and nowhere else."""
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def indexed(weight_map):
    def change(folder):
        sharded(folder)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def keyed(name, key):
    """A file that names somebody's code, deep inside."""
    return writing(name, json.dumps({"a": [{"b": {key: "someone/code"}}]}))


REFUSED = {
    "no config": (without("config.json"), ["config.json", "missing"]),
    "config is no JSON": (writing("config.json", "{"), ["config.json", "JSON"]),
    "config is no object": (writing("config.json", "[]"), ["config.json", "JSON object"]),
    "config nested without end": (writing("config.json", "[" * 100_000), ["config.json", "JSON"]),
    **{
        f"{key} in {name}": (keyed(name, key), [f"{name} has {key},"])
        for name in ("config.json", "tokenizer_config.json")
        for key in ("auto_map", "_attn_implementation_internal", "_attn_implementation")
    },
    "key in escapes": (writing("config.json", r'{"\u0061uto_map": 1}'), ["config.json", "auto_map"]),
    "no weights": (without("model.safetensors", "pytorch_model.bin"), ["no weights", "model.safetensors"]),
    "pytorch_model.bin": (without("model.safetensors"), ["pickle", "pytorch_model.bin"]),
    **{name: (pickled(name), ["pickle", name]) for name in ("a.pt", "a.pth", "a.ckpt", "a.pkl")},
    "slow tokenizer only": (without("tokenizer.json"), ["tokenizer.json", "fast", "save_pretrained"]),
}
REFUSED_SHARDS = {
    "missing shard": (indexed({"a": "model-00003-of-00002.safetensors"}), ["index.json", "model-00003"]),
    "shard by a path": (indexed({"a": "../../../secret.safetensors"}), ["index.json", "../../../secret"]),
    "shard that is no weights": (indexed({"a": "pytorch_model.bin"}), ["index.json", "pytorch_model.bin"]),
    "shard that is a list": (indexed({"a": [1]}), ["index.json", "[1]"]),
    "no weight map": (indexed({}), ["index.json", "weight_map"]),
}
REFUSED_WEIGHTS = {
    "cut short": (cut, ["model.safetensors", "cut short"]),
    "empty": (writing("model.safetensors", ""), ["model.safetensors", "cut short"]),
    "no header": (writing("model.safetensors", "12345678{no"), ["model.safetensors", "not safetensors"]),
}


@pytest.mark.parametrize("kind", [*REFUSED, *REFUSED_SHARDS, *REFUSED_WEIGHTS])
def test_a_folder_is_refused_with_the_file_and_the_key(model, tmp_path, kind):
    change, words = {**REFUSED, **REFUSED_SHARDS, **REFUSED_WEIGHTS}[kind]
    snapshot.check(model)
    change(model)
    for act in (snapshot.check, lambda folder: snapshot.from_folder(folder, tmp_path / "out")):
        with pytest.raises(ValueError) as caught:
            act(model)
        sentence = str(caught.value)
        assert all(word in sentence for word in [str(model), "; ", *words]) and "\n" not in sentence
    assert contents(tmp_path / "out") == {}


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


@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja"])
def test_a_link_to_outside_is_refused_and_one_to_inside_becomes_a_file(model, tmp_path, name):
    (model / name).rename(model / "kept")
    (model / name).symlink_to("kept")
    snapshot.from_folder(model, tmp_path / "out")
    assert not (tmp_path / "out" / name).is_symlink()
    (model / "kept").rename(tmp_path / "kept")
    (model / name).unlink()
    (model / name).symlink_to(tmp_path / "kept")
    with pytest.raises(ValueError, match=rf"{name} is a link"):
        snapshot.from_folder(model, tmp_path / "out")


def test_a_folder_gives_the_files_the_hub_would_and_never_its_place(model, tmp_path):
    snapshot.from_folder(model, tmp_path / "out")
    source = {"files": {name: sha256(model / name) for name in TAKEN}, "folder": "tiny-chat"}
    assert (tmp_path / "out/source.json").read_text() == json.dumps(source, indent=2) + "\n"
    assert {name: sha256(tmp_path / "out" / name) for name in TAKEN} == source["files"]
    first = contents(tmp_path / "out")
    snapshot.from_folder(model, tmp_path / "out")
    assert contents(tmp_path / "out") == first


@pytest.mark.parametrize("inner", ["", "tiny-chat"])
def test_a_folder_is_never_emptied_to_be_copied_into_itself(model, inner):
    out = model if inner == "" else model.parent
    with pytest.raises(ValueError, match="emptied first"):
        snapshot.from_folder(model, out)
    snapshot.check(model)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model\.folder: .*nowhere is not a folder; "):
        snapshot.from_folder(tmp_path / "nowhere", tmp_path / "out")


def test_neither_torch_nor_transformers_is_loaded():
    code = "import sys, refrain.snapshot; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
