"""The graph of optimum, written anew: a tied table once, every product in few bits, hardly larger than compact."""

from collections import Counter

import numpy as np
import onnx as onnx_format
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from refrain.chat import model_folder
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import loading
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading as runtime
from refrain.runtime import onnx_folder

VOCABULARY = 6000  # a large table in a small model
SHAPES = {
    "llama": LlamaConfig(vocab_size=VOCABULARY, hidden_size=96, intermediate_size=128, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
                         tie_word_embeddings=True, initializer_range=0.1),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=96, n_layer=1, n_head=2, n_positions=128, initializer_range=0.1),
}  # fmt: skip
PRECISIONS = {
    "fp32": QuantizationConfig(bits=32),
    "int8": QuantizationConfig(bits=8, block=32, head_bits=8),
    "int4": QuantizationConfig(bits=4, block=32, head_bits=8, symmetric=False),
    "token": QuantizationConfig(bits=8, activations="token", head_bits=8),
    "wide": QuantizationConfig(bits=4, block=32, head_bits=32),
}
IDS = np.array([[5, 9, 60, 5999, 3, 7, 7, 4120, 250]])


@pytest.fixture(scope="module", params=SHAPES)
def tied(request, adapter, talk, tmp_path_factory):
    """A model whose head is its table of tokens, in all precisions, by kind of graph."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(SHAPES[request.param])
    loading.save_for_serving(model, talk.stop_ids, folder / "merged")
    model_folder.copy_tokenizer(adapter, folder / "merged", talk.template)
    for kind in ("compact", "optimum"):
        for name, weights in PRECISIONS.items():
            exporter.export_variant(folder / "merged", folder / kind / name, weights, kind, 18)
    return folder


def logits(folder):
    return runtime.load_model(folder).forward(IDS, np.ones_like(IDS), None)[0]


def nodes(folder):
    return onnx_format.load(folder / "model.onnx", load_external_data=False).graph.node


@pytest.mark.parametrize("name", PRECISIONS)
def test_it_is_hardly_larger_than_the_compact_graph(name, tied):
    sizes = [onnx_folder.model_bytes(tied / kind / name) for kind in ("optimum", "compact")]
    assert sizes[0] < 1.2 * sizes[1]


@pytest.mark.parametrize("name", PRECISIONS)
def test_it_says_what_the_compact_graph_says(name, tied):
    compact, traced = logits(tied / "compact" / name), logits(tied / "optimum" / name)
    assert compact.std() > 0.1 and np.abs(compact - traced).max() < (1e-4 if name == "fp32" else 0.1 * compact.std())


def test_the_table_is_read_by_both_ends(tied):
    for name, gather, product in (
        ("fp32", "Gather", "FusedMatMul"),
        ("wide", "Gather", "FusedMatMul"),
        ("int4", "GatherBlockQuantized", "MatMulNBits"),
    ):
        graph = nodes(tied / "optimum" / name)
        head = next(node for node in graph if "logits" in node.output)
        reads = next(node for node in graph if node.op_type == gather and node.input[0].startswith("table"))
        table = {"table"} if gather == "Gather" else {"table.codes", "table.scales", "table.zeros"}
        assert head.op_type == product and set(head.input[1:]) == table
        assert table & {*reads.input}


def test_every_product_with_weights_is_in_few_bits(tied):
    products = Counter(node.op_type for node in nodes(tied / "compact/int8"))["MatMulNBits"]
    found = Counter(node.op_type for node in nodes(tied / "optimum/int8"))
    assert found["Gemm"] == 0 and found["MatMulNBits"] >= products
    constants = onnx_format.load(tied / "optimum/int8/model.onnx", load_external_data=False).graph.initializer
    assert not [each.name for each in constants if each.data_type == 1 and len(each.dims) == 2 and each.dims[0] > 128
                and not each.name.endswith("scales")]  # fmt: skip


def test_a_graph_without_products_is_refused(tied, tmp_path):
    model = onnx_format.load(tied / "optimum/fp32/model.onnx")
    del model.graph.node[:]
    (tmp_path / "source").mkdir()
    onnx_format.save(model, tmp_path / "source/model.onnx")
    with pytest.raises(ValueError, match=r"^model\.onnx: nothing in it could be quantised, for no product has weights"):
        exporter.quantize_traced(tmp_path / "source", tmp_path, PRECISIONS["int8"])
