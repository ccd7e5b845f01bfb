"""A folder of published weights can be trusted, or it is refused in one sentence."""

import json

import pytest
from hub_repository import CONFIG, REFUSED, REFUSED_SHARDS, REFUSED_WEIGHTS, TAKEN, contents, publish
from hub_server import sha256

from refrain.models.pretrained import snapshot


@pytest.fixture
def model(tmp_path):
    return publish(tmp_path / "hub")


@pytest.mark.parametrize("kind", [*REFUSED, *REFUSED_SHARDS, *REFUSED_WEIGHTS])
def test_a_folder_is_refused_with_the_file_and_the_key(model, tmp_path, kind):
    change, words = {**REFUSED, **REFUSED_SHARDS, **REFUSED_WEIGHTS}[kind]
    snapshot.check_folder(model)
    change(model)
    for act in (snapshot.check_folder, lambda folder: snapshot.copy_from_folder(folder, tmp_path / "out")):
        with pytest.raises(ValueError) as caught:
            act(model)
        sentence = str(caught.value)
        assert all(word in sentence for word in [str(model), "; ", *words]) and "\n" not in sentence
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja"])
def test_a_link_to_outside_is_refused_and_one_to_inside_becomes_a_file(model, tmp_path, name):
    (model / name).rename(model / "kept")
    (model / name).symlink_to("kept")
    snapshot.copy_from_folder(model, tmp_path / "out")
    assert not (tmp_path / "out" / name).is_symlink()
    (model / "kept").rename(tmp_path / "kept")
    (model / name).unlink()
    (model / name).symlink_to(tmp_path / "kept")
    with pytest.raises(ValueError, match=rf"{name} is a link"):
        snapshot.copy_from_folder(model, tmp_path / "out")


def test_a_folder_gives_the_files_the_hub_would_and_never_its_place(model, tmp_path):
    snapshot.copy_from_folder(model, tmp_path / "out")
    source = {"files": {name: sha256(model / name) for name in TAKEN}, "folder": "tiny-chat"}
    assert (tmp_path / "out/source.json").read_text() == json.dumps(source, indent=2) + "\n"
    assert {name: sha256(tmp_path / "out" / name) for name in TAKEN} == source["files"]
    first = contents(tmp_path / "out")
    snapshot.copy_from_folder(model, tmp_path / "out")
    assert contents(tmp_path / "out") == first


@pytest.mark.parametrize("inner", ["", "tiny-chat"])
def test_a_folder_is_never_emptied_to_be_copied_into_itself(model, inner):
    out = model if inner == "" else model.parent
    with pytest.raises(ValueError, match="emptied first"):
        snapshot.copy_from_folder(model, out)
    snapshot.check_folder(model)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model\.folder: .*nowhere is not a folder; "):
        snapshot.copy_from_folder(tmp_path / "nowhere", tmp_path / "out")


def test_a_config_of_transformers_5_is_translated_and_its_own_hash_is_kept(model, tmp_path):
    parameters = {"rope_type": "default", "rope_theta": 5e5}
    (model / "config.json").write_text(json.dumps(CONFIG | {"rope_parameters": parameters}))
    snapshot.copy_from_folder(model, tmp_path / "out")
    written = json.loads((tmp_path / "out/config.json").read_text())
    assert written == CONFIG | {"rope_theta": 5e5, "rope_scaling": None}
    source = json.loads((tmp_path / "out/source.json").read_text())
    assert (source["translated"], source["files"]["config.json"]) == ("config.json", sha256(model / "config.json"))


def test_obstacles_are_refused_before_anything_is_copied_and_counted(model, tmp_path):
    (model / "config.json").write_text(json.dumps(CONFIG | {"hidden_size": 63, "vocab_size": 63, "rms_norm_eps": 0}))
    with pytest.raises(ValueError, match=r"config.json: rms_norm_eps=0 .*"):
        snapshot.copy_from_folder(model, tmp_path / "out")
    assert contents(tmp_path / "out") == {}
