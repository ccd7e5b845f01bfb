"""ONNX files: the graph of a merged model, and its smaller variants."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from time import monotonic

import onnx

from refrain.chat import model_folder
from refrain.exporters.architectures.exporter_choice import choose_exporter, describe_choice
from refrain.exporters.onnx import genai_config, graph, traced_graph
from refrain.exporters.onnx.builder import NO_CALIBRATION, Calibration
from refrain.pipeline.export_schema import ExportConfig, QuantizationConfig
from refrain.runtime import onnx_folder
from refrain.runtime.loading import Session, load_model

log = logging.getLogger(__name__)

MAX_GRAPH_BYTES = 2**30  # a protobuf ends at 2 GiB, so the weights of larger models lie beside the graph


def export_variants(merged: Path, artifact: Path, export: ExportConfig) -> None:
    """Each variant in its own settings, unproven; ValueError for a model that cannot be drawn."""
    kind = choose_graph(merged, export.graph)
    for name in order_variants(export.variants):
        export_variant(merged, artifact / name, export.variants[name].weights, kind, export.opset)


def export_draft(merged: Path, artifact: Path, export: ExportConfig) -> Callable[[], Session] | None:
    """What opens the fp32 variant, where there must be one: unproven, it drafts what the merged model says."""
    first = order_variants(export.variants)[0]
    variant = export.variants[first]
    if variant.weights.bits != 32 or not variant.thresholds.required:
        return None
    export_variant(merged, artifact / first, variant.weights, choose_graph(merged, export.graph), export.opset)
    return partial(load_model, artifact / first)


def order_variants(variants: Iterable[str]) -> list[str]:
    """fp32 first, for optimum's others are made from it."""
    return sorted(variants, key=lambda name: (name != "fp32", name))


def export_variant(
    merged: Path,
    out: Path,
    weights: QuantizationConfig,
    kind: str,
    opset: int,
    calibration: Calibration = NO_CALIBRATION,
) -> None:
    """A folder that the runtime serves: the graph and its weights, some layers in more bits, and what goes with it."""
    start = monotonic()
    out.mkdir(parents=True)
    if is_dynamically_quantized(weights):
        quantize_dynamically(out.parent / "fp32", out)
    elif kind == "compact":
        graph.write_graph(merged, out, weights, calibration)
    elif weights.bits == 32:
        trace_with_optimum(merged, out, opset)
    else:
        quantize_traced(out.parent / "fp32", out, weights, calibration.sensitive)
    for config_name in onnx_folder.CONFIGS:
        shutil.copyfile(merged / config_name, out / config_name)
    model_folder.copy_tokenizer(merged, out, (merged / "chat_template.jinja").read_text(encoding="utf-8"))
    genai_config.write_genai_config(out)
    size = onnx_folder.model_bytes(out) / 1e6
    log.info("%s: %.1f MB written in %.1f s", out, size, monotonic() - start)


def choose_graph(merged: Path, kind: str | None) -> str:
    """compact or optimum: what conf/ says, else compact where it can draw the model."""
    return "compact" if draws_compact_graph(merged, kind) else "optimum"


def draws_compact_graph(merged: Path, kind: str | None) -> bool:
    """Whether the compact graph is drawn: when it is the kind in conf/, or there is none and it can draw the model."""
    if kind is not None:
        return kind == "compact"
    choice = choose_exporter(merged)
    if choice.reason is not None:
        log.info("%s", describe_choice(choice))
    return choice.exporter == "compact"


def is_dynamically_quantized(precision: QuantizationConfig) -> bool:
    """Whether activations are quantised too, with one scale for all rows of a batch."""
    return precision.bits == 8 and precision.block is None and precision.activations is None


def trace_with_optimum(merged: Path, out: Path, opset: int) -> None:
    """The fp32 graph with a KV cache, traced by optimum."""
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main_export(
            str(merged),
            scratch,
            task="text-generation-with-past",
            opset=opset,
            library_name="transformers",
            do_validation=False,  # optimum's only warns; parity.py is ours
            trust_remote_code=False,
        )
        traced_graph.rewrite_graph(Path(scratch), out, QuantizationConfig(bits=32))


def quantize_traced(source: Path, out: Path, weights: QuantizationConfig, sensitive: Collection[int] = ()) -> None:
    """A traced graph with its weights in fewer bits: activations stay fp32, so no row depends on those beside it."""
    if weights.bits == 16:
        raise ValueError("export.variants: 16 bits need the compact graph; leave the variant out: export=fp32")
    traced_graph.rewrite_graph(source, out, weights, sensitive)


def quantize_dynamically(source: Path, out: Path) -> None:
    """A graph with weights and activations in 8 bits, one scale to a column and one to all rows of a call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        quantize_dynamic(
            source / onnx_folder.GRAPH,
            Path(scratch) / onnx_folder.GRAPH,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # to 7 bits of weights: x86 without VNNI sums two products in 16 bits, as nobody else
            op_types_to_quantize=["MatMul"],  # the head stays fp32 where it is the embedding
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        save_graph(onnx.load(Path(scratch) / onnx_folder.GRAPH), out, "MatMulInteger")


def save_graph(model: onnx.ModelProto, out: Path, operator: str) -> None:
    """The graph, large weights beside it; ValueError when the operator is nowhere in it, so nothing was quantised."""
    if not any(node.op_type == operator for node in model.graph.node):
        raise ValueError("model.onnx: nothing in it could be quantised, for no MatMul has weights; choose export=fp32")
    size = sum(len(constant.raw_data) for constant in model.graph.initializer)  # ByteSize() fails beyond 2 GiB
    is_large = size > MAX_GRAPH_BYTES
    onnx.save(model, out / onnx_folder.GRAPH, save_as_external_data=is_large, location=onnx_folder.EXTERNAL_DATA)
