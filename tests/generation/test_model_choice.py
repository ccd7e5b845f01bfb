"""What a person may name as a model, and what they read when it is none."""

import pytest

from refrain.generation import model_choice


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, *(f"models/onnx/{variant}/model.onnx" for variant in ("best", "fp32", "int8")))
    make(tmp_path, "models/merged/model.safetensors", "models/merged/config.json")
    make(tmp_path, "models/adapter/adapter_config.json", "models/adapter/adapter_model.safetensors")
    make(tmp_path, "run/checkpoint-9/trainer_state.json", "run/checkpoint-9/model.safetensors")
    make(tmp_path, "gguf/model-q4.gguf", "graphs/decoder.onnx", "two/a/model.onnx", "two/b/model.onnx", "notes.txt")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize("name, folder", [
    ("models/onnx/int8", "models/onnx/int8"),
    ("models/onnx", "models/onnx/best"),
    ("models/onnx/fp32/model.onnx", "models/onnx/fp32"),
])  # fmt: skip
def test_a_variant_a_folder_of_variants_or_a_graph_is_opened(name, folder):
    assert str(model_choice.choose_model(name)) == folder


@pytest.mark.parametrize("name, sentence", [
    ("models/merged", "models/merged: it holds the weights of a model as PyTorch loads them, "),
    ("models/adapter", "models/adapter: it holds an adapter, "),
    ("run/checkpoint-9", "run/checkpoint-9: it holds the checkpoint of a training, "),
    ("gguf", "gguf: it holds a GGUF model, for llama.cpp, "),
    ("gguf/model-q4.gguf", "gguf/model-q4.gguf: it is a GGUF model, for llama.cpp, "),
    ("notes.txt", "notes.txt: it is a file, "),
    ("graphs", "graphs: it holds a graph that is not called model.onnx, "),
    ("empty", "empty: it holds nothing, "),
    ("run", "run: it holds no model.onnx, "),
    ("models", "models: it holds no model.onnx; name one of models/onnx"),
    ("two", "two: it holds no model.onnx; name one of two/a, two/b"),
    ("int8", "int8: there is no such folder; the variant of that name is models/onnx/int8"),
    ("onnx/int3", "onnx/int3: there is no such folder, and what is on the Hub has to be exported first: "
                  "`dvc exp run -S model=hub -S model.hub=onnx/int3` "),
    ("models/onnx/int3", "models/onnx/int3: there is no such folder; name models/onnx/best"),
    ("~/none", "~/none: there is no such folder; "),
])  # fmt: skip
def test_anything_else_says_what_it_is_and_what_to_name(name, sentence):
    with pytest.raises(ValueError) as caught:
        model_choice.choose_model(name)
    assert str(caught.value).startswith(sentence)
    assert "models/onnx" in str(caught.value) or name == "two"


def test_where_nothing_was_exported_the_two_ways_to_a_model_are_named(here):
    (here / "models/onnx/best/model.onnx").unlink()
    with pytest.raises(ValueError, match="no repository of Refrain is here: name a folder, as `dvc get "):
        model_choice.choose_model("models/onnx/best")
    (here / "conf").mkdir()
    for name in ("models/onnx/best", "models/merged"):
        with pytest.raises(ValueError, match="`dvc pull models/onnx` fetches models/onnx/best, `dvc repro` makes it"):
            model_choice.choose_model(name)
