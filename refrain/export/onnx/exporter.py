"""ONNX files: the graph of a merged model, and its smaller variants."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx

from refrain.chat import model_folder
from refrain.export.architectures import families
from refrain.export.onnx import builder, graph
from refrain.pipeline.schema import ExportConfig, QuantizationConfig

log = logging.getLogger(__name__)


BESIDE = ("config.json", "generation_config.json")


LARGE = 2**30  # bytes; a protobuf ends at 2 GiB, so the weights of larger models lie beside the graph


def export_variants(merged: Path, onnx_folder: Path, export: ExportConfig) -> None:
    """A folder that the runtime serves for each variant: the graph with its weights, tokenizer, template and configs.

    ValueError when the model cannot be drawn, or a variant would quantise nothing.
    """
    compact = is_compact(merged, export.graph)
    for name in sorted(export.variants, key=lambda name: (name != "fp32", name)):  # optimum's others are made from fp32
        out = onnx_folder / name
        out.mkdir(parents=True)
        precision = export.variants[name].weights
        if is_dynamic(precision):
            quantize_dynamically(onnx_folder / "fp32", out)
        elif compact:
            graph.write_graph(merged, out, precision)
        elif precision.bits == 32:
            trace_with_optimum(merged, out, export.opset)
        else:
            quantize_traced(onnx_folder / "fp32", out, precision)
        log.info("%s: %.1f MB", out, sum(file.stat().st_size for file in out.glob("model.onnx*")) / 1e6)
        for beside in BESIDE:
            shutil.copyfile(merged / beside, out / beside)
        model_folder.copy_tokenizer(merged, out, (merged / "chat_template.jinja").read_text(encoding="utf-8"))


def is_compact(merged: Path, asked: str | None) -> bool:
    """Whether the compact graph is drawn: when it is asked for, or can draw the model and nothing was asked for."""
    if asked is not None:
        return asked == "compact"
    try:
        families.require_drawable(merged)
    except ValueError as error:
        log.info("optimum traces the graph, for %s", error)
        return False
    return True


def is_dynamic(precision: QuantizationConfig) -> bool:
    """Whether activations are quantised too, with one scale for all rows of a batch."""
    return precision.bits == 8 and precision.block is None


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
        for file in sorted(Path(scratch).glob("model.onnx*")):
            shutil.move(file, out / file.name)


def quantize_traced(source: Path, out: Path, precision: QuantizationConfig) -> None:
    """A traced graph with its weights in fewer bits: activations stay fp32, so no row depends on those beside it."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    model = onnx.load(source / "model.onnx")
    if precision.bits == 16:
        raise ValueError("export.variants: 16 bits need the compact graph; leave the variant out: export=fp32")
    head = next(node.name for node in model.graph.node if "logits" in node.output)
    head_bits = precision.head_bits or precision.bits
    for bits, left in ((precision.bits, [head]), (head_bits, [])):  # the second time nothing but the head is left
        if bits in (4, 8):
            config = DefaultWeightOnlyQuantConfig(
                block_size=precision.block or 32,
                is_symmetric=precision.symmetric,
                bits=bits,
                accuracy_level=precision.accuracy,
            )
            quantizer = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=left)
            quantizer.process()
            model = quantizer.model.model
    save(model, out, "MatMulNBits")


def quantize_dynamically(source: Path, out: Path) -> None:
    """A graph with weights and activations in 8 bits, one scale to a column and one to all rows of a call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        quantize_dynamic(
            source / "model.onnx",
            Path(scratch) / "model.onnx",
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],  # the head stays fp32 where it is the table of tokens
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        save(onnx.load(Path(scratch) / "model.onnx"), out, "MatMulInteger")


def save(model: onnx.ModelProto, out: Path, operator: str) -> None:
    """model.onnx, large weights beside it; ValueError when the operator is nowhere in it, so nothing was quantised."""
    if not any(node.op_type == operator for node in model.graph.node):
        raise ValueError("model.onnx: nothing in it could be quantised, for no MatMul has weights; choose export=fp32")
    large = sum(len(each.raw_data) for each in model.graph.initializer) > LARGE  # ByteSize() fails beyond 2 GiB
    onnx.save(model, out / "model.onnx", save_as_external_data=large, location=builder.EXTERNAL_DATA)
