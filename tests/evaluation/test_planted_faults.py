"""Ten faults, each planted in the files of a real artifact: the stage stops with a sentence that names the link."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import card_reports
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from refrain.chat import records
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import loading
from refrain.pipeline import manifest, paths, schema
from stages import export_onnx, merge


@pytest.fixture
def plant_after(monkeypatch):
    """A function that lets a stage go on with a fault in what one of its steps wrote into the folder of this name."""

    def arrange(module, step, plant, folder):
        def step_with_fault(*arguments, **named):
            step(*arguments, **named)
            if any(isinstance(each, Path) and each.name == folder for each in arguments):
                plant()

        monkeypatch.setattr(module, step.__name__, step_with_fault)

    return arrange


@pytest.fixture
def cfg(base, adapter, rows, fitting, tmp_path, monkeypatch):
    """The configuration of a workspace in which base, train and prepare have run, and which is the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, paths.BASE)
    (paths.BASE / "source.json").write_text('{"made": "by conftest.py"}')
    shutil.copytree(adapter, paths.ADAPTER)
    card_reports.write()
    paths.PREPARED.mkdir(parents=True)
    for split in ("train", "val", "test"):
        records.write_rows(paths.PREPARED / f"{split}.jsonl", rows if split == "test" else [])
    return schema.Config(merge=schema.MergeConfig(prompts=8, relative_logits=1e-3), export=copy.deepcopy(fitting))


def without_adapter():
    shutil.copyfile(paths.BASE / "model.safetensors", paths.MERGED / "model.safetensors")


def without_its_head():
    """config.json says that the table of tokens is the head, too."""
    edit_json(paths.MERGED / "config.json", tie_word_embeddings=True)


def with_a_transposed_weight():
    """As many bytes, row by row where they should be column by column."""
    weight = constant("fp32", "layers.1.down.weight")
    weight[:] = weight.T.copy().reshape(weight.shape)


def with_another_rope_base():
    """10,000 becomes 20,000."""
    graph = onnx.load(paths.ONNX / "fp32/model.onnx", load_external_data=False).graph
    cos, sin = sorted(each.name for each in graph.initializer if each.name.startswith("turn_"))
    frequencies = 1 / 20_000 ** (np.arange(0, 32, 2) / 32)
    angles = np.arange(256)[:, None] * frequencies
    constant("fp32", cos)[:], constant("fp32", sin)[:] = np.cos(angles), np.sin(angles)


def with_a_stale_tokenizer():
    file = paths.ONNX / "fp32/tokenizer.json"
    model = json.loads(file.read_text(encoding="utf-8"))["model"]
    edit_json(file, model=model | {"merges": model["merges"][:-9]})


def with_another_template():
    file = paths.ONNX / "int8/chat_template.jinja"
    file.write_text(file.read_text().replace("assistant\n", "assistant:\n"))


def with_a_bad_head():
    """The scales of one token stand where those of another should."""
    scales = constant("int8", "head.scales")
    scales[:] = scales[::-1].copy()


def without_end_token():
    edit_json(paths.ONNX / "int4/generation_config.json", eos_token_id=None)


def off_by_one_in_a_padded_batch():
    """Rows that are shorter than the longest count one position too few."""
    model = onnx.load(paths.ONNX / "fp32/model.onnx", load_external_data=False)
    nodes = model.graph.node
    at = next(i for i, node in enumerate(nodes) if node.output[0] == "seqlens_k")
    nodes[at].input[0] = "last_position.late"
    late = [
        helper.make_node("ReduceMax", ["last_position"], ["last_position.longest"]),
        helper.make_node("Less", ["last_position", "last_position.longest"], ["last_position.shorter"]),
        helper.make_node("Cast", ["last_position.shorter"], ["last_position.one"], to=TensorProto.INT64),
        helper.make_node("Sub", ["last_position", "last_position.one"], ["last_position.late"]),
    ]
    for node in reversed(late):
        nodes.insert(at, node)
    (paths.ONNX / "fp32/model.onnx").write_bytes(model.SerializeToString())


def with_swapped_layers():
    model = onnx.load(paths.ONNX / "fp32/model.onnx", load_external_data=False)
    for each in model.graph.initializer:
        if each.name.startswith("layers."):
            _, number, rest = each.name.split(".", 2)
            each.name = f"layers.{1 - int(number)}.{rest}"
    (paths.ONNX / "fp32/model.onnx").write_bytes(model.SerializeToString())


def edit_json(file, **changes):
    """Set keys of a JSON file, or take them out where they are None."""
    values = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), encoding="utf-8")


def constant(variant, name):
    """A constant of a compact graph, as it lies in its file: what is written to it is written there."""
    folder = paths.ONNX / variant
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    tensor = next(each for each in graph.initializer if each.name == name)
    place = {each.key: each.value for each in tensor.external_data}
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(folder / place["location"], kind, "r+", int(place["offset"]), tuple(tensor.dims))


LOGITS = "its logits differ from the adapter's by"
FAULTS = {
    "adapter not applied": (without_adapter, "merged", LOGITS),
    "tied head lost": (without_its_head, "merged", LOGITS),
    "one transposed weight": (with_a_transposed_weight, "fp32", "its whole logits differ from the merged model's by"),
    "wrong rope base": (with_another_rope_base, "fp32", "its whole logits differ from the merged model's by"),
    "stale tokenizer": (with_a_stale_tokenizer, "fp32", "its tokenizer makes other ids of 0-said.jsonl:"),
    "wrong chat template": (with_another_template, "int8", "its chat template makes other ids of 0-said.jsonl:0 than"),
    "quantised head gone bad": (with_a_bad_head, "int8", ""),
    "missing end token": (without_end_token, "int4", "generation_config.json ends a reply with None, the chat"),
    "off-by-one position in a padded batch": (off_by_one_in_a_padded_batch, "fp32", "its batched logits differ"),
    "a swapped layer": (with_swapped_layers, "fp32", "its whole logits differ from the merged model's by"),
}


@pytest.mark.heavy
def test_the_healthy_chain_passes_and_leaves_a_whole_artifact(cfg):
    merge.main(cfg)
    export_onnx.main(cfg)
    assert manifest.find_problems(paths.ONNX) == []
    assert {each.name for each in paths.ONNX.iterdir()} == {*cfg.export.variants, "best", "manifest.json", "README.md"}
    facts = manifest.read_manifest(paths.ONNX)
    assert facts["base"] == {"made": "by conftest.py"} and facts["best"] == "int4"
    assert facts["data"] == manifest.sha256_by_file(paths.PREPARED) and facts["versions"]["onnx"] == onnx.__version__
    proof = facts["parity"]
    assert proof == json.loads(paths.PARITY.read_text())
    assert {name: proof[name]["reference"] for name in ("merged", *cfg.export.variants)} == {
        "merged": "adapter", "fp32": "merged", "int8": "merged", "int4": "merged",
    }  # fmt: skip
    assert [proof[name]["fails"] for name in cfg.export.variants] == [[], [], []]


@pytest.mark.heavy
def test_a_variant_that_fails_and_is_not_required_is_left_out_and_says_why(cfg):
    merge.main(cfg)
    int4 = cfg.export.variants["int4"]
    int4.thresholds, int4.fallbacks = replace(int4.thresholds, top1=1.0), int4.fallbacks[1:2]
    export_onnx.main(cfg)
    assert {each.name for each in paths.ONNX.iterdir()} == {"fp32", "int8", "best", "manifest.json", "README.md"}
    facts = manifest.read_manifest(paths.ONNX)
    assert facts["best"] == "int8" and manifest.find_problems(paths.ONNX) == []
    proof = facts["parity"]["int4"]
    assert [each["weights"]["block"] for each in (*proof["failed_before"], proof)] == [32, 16]
    (why,) = proof["fails"]
    assert why.startswith("int4: ") and "wants 100.0%" in why


@pytest.mark.heavy
@pytest.mark.parametrize(("plant", "link", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_stops_the_stage_by_the_name_of_the_link(plant, link, sentence, cfg, plant_after):
    if link == "merged":
        plant_after(loading, loading.save_for_serving, plant, link)
    else:
        plant_after(exporter, exporter.export_variant, plant, link)
    int8 = cfg.export.variants["int8"]
    int8.thresholds.required, int8.fallbacks = True, []
    with pytest.raises(ValueError) as error:
        merge.main(cfg)
        export_onnx.main(cfg)
    assert str(error.value).startswith(f"{link}: {sentence}")
