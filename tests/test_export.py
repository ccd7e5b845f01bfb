import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx as onnx_format
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    Qwen3Config,
)

from refrain import chat, export, models, parity, runtime

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,  # hidden size / heads is 16
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
SHAPES = {
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=16),
    "gpt2": GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256, initializer_range=0.1),
}


@pytest.fixture(scope="module")
def asked(talk, rows):
    return [chat.prompt(talk, row["messages"][:-1]) for row in rows[:4]]


@pytest.fixture(scope="module")
def shaped(base, talk, tmp_path_factory):
    """Makes what the merge stage leaves of a random model of another shape."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        shape = SHAPES[name]
        shape.update({"vocab_size": talk.tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 2})
        torch.manual_seed(0)
        models.save_whole(AutoModelForCausalLM.from_config(shape), talk.ends, folder)
        chat.copy(base, folder, talk.template)
        return folder

    return make


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_is_exported_as_it_is(name, shaped, asked, variants, tmp_path):
    folder = shaped(name)
    export.write(folder, tmp_path, "fp32", variants["fp32"], opset=18)
    proof = parity.compare(models.Speaker(models.load(folder)), runtime.Session(tmp_path / "fp32"), asked, 24)
    parity.require({"fp32": variants["fp32"]}, {"fp32": proof})
    assert max(proof.uncached, proof.cached, proof.padded) < 1e-3


def test_a_graph_that_cannot_be_quantised_is_refused(shaped, variants, tmp_path):
    """GPT-2's weights are of no MatMul, but of Gemm, which the quantiser passes over in silence."""
    folder = shaped("gpt2")
    export.write(folder, tmp_path, "fp32", variants["fp32"], opset=18)
    with pytest.raises(
        ValueError, match=r"^/.*/fp32/model\.onnx: nothing in it could be quantised, .*; choose export=fp32$"
    ):
        export.write(folder, tmp_path, "int8", variants["int8"], opset=18)


def test_a_folder_holds_all_that_a_runtime_needs(onnx, merged, talk):
    for name in ("fp32", "int8"):
        held, source = files(onnx / name), files(merged)
        assert held.keys() == (source.keys() | {"model.onnx"}) - {"model.safetensors"}
        assert {each for each in held if held[each] == source.get(each)} == held.keys() - {"model.onnx"}
        assert AutoTokenizer.from_pretrained(onnx / name).chat_template == talk.template
        assert set(GenerationConfig.from_pretrained(onnx / name).eos_token_id) == talk.ends


def test_a_quantised_file_is_less_than_half_as_large(onnx):
    sizes = {name: (onnx / name / "model.onnx").stat().st_size for name in ("fp32", "int8")}
    assert sizes["int8"] < sizes["fp32"] / 2


def test_every_linear_layer_is_quantised(onnx):
    """Seven for each of two layers, and the head."""
    graph = onnx_format.load(onnx / "int8/model.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    weights = {each.name for each in graph.initializer}
    assert kinds["MatMulNBits"] == 15
    assert not [node.name for node in graph.node if node.op_type == "MatMul" and weights & set(node.input)]


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_what_a_row_hears_does_not_depend_on_the_rows_beside_it(onnx, name):
    session = runtime.Session(onnx / name)
    row, quiet, loud = [5, 9, 60, 200], [7, 7, 7, 7], [250, 3, 120, 31]
    mask = np.ones((3, 4), dtype=np.int64)
    logits, caches = zip(
        *(session.forward(np.array([row, *others]), mask, None) for others in ([quiet] * 2, [loud, row])), strict=True
    )
    assert np.array_equal(logits[0][0], logits[1][0]) and not np.array_equal(logits[0][1], logits[1][1])
    after = [
        session.forward(np.array([[8], [other], [other]]), np.ones((3, 5), dtype=np.int64), cache)[0]
        for cache, other in zip(caches, (7, 120), strict=True)
    ]
    assert np.array_equal(after[0][0], after[1][0]) and not np.array_equal(after[0][1], after[1][1])


@pytest.mark.parametrize("block", [7, 48, 512])
def test_a_block_that_no_kernel_has_is_refused(onnx, variants, tmp_path, block):
    with pytest.raises(ValueError, match=rf"^export\.variants: a block of {block} is none of 16, 32, 64, 128, 256$"):
        export.quantised(onnx / "fp32/model.onnx", tmp_path / "model.onnx", replace(variants["int8"], block=block))


@pytest.mark.parametrize("block", export.BLOCKS)
def test_every_other_block_runs(onnx, variants, tmp_path, block):
    export.quantised(onnx / "fp32/model.onnx", tmp_path / "model.onnx", replace(variants["int8"], block=block))
    nodes = onnx_format.load(tmp_path / "model.onnx").graph.node
    settings = [{each.name: each.i for each in node.attribute} for node in nodes if node.op_type == "MatMulNBits"]
    assert {(each["bits"], each["block_size"], each["accuracy_level"]) for each in settings} == {(8, block, 4)}
    ids = np.array([[5, 9, 60]])
    (logits, _), (right, _) = (
        runtime.Session(folder).forward(ids, np.ones_like(ids), None) for folder in (tmp_path, onnx / "fp32")
    )
    assert np.abs(logits - right).max() < 0.5


def test_an_export_is_the_same_bytes_from_any_folder(onnx, merged, variants, tmp_path):
    shutil.copytree(merged, tmp_path / "elsewhere")
    for name, variant in variants.items():
        export.write(tmp_path / "elsewhere", tmp_path / "out", name, variant, opset=18)
        assert files(tmp_path / "out" / name) == files(onnx / name)
