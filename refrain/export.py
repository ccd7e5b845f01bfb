"""ONNX files: the graph of a merged model, and its smaller variants."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx

from refrain import chat
from refrain.config import Variant

log = logging.getLogger(__name__)

BESIDE = ("config.json", "generation_config.json")
BLOCKS = (16, 32, 64, 128, 256)  # those that MatMulNBits has kernels for


def write(merged: Path, onnx_folder: Path, name: str, variant: Variant, opset: int) -> None:
    """A folder that the runtime serves, onnx_folder/name: model.onnx with tokenizer, template and configs.

    Variants of fewer than 32 bits are made from the fp32 one, which must be there.
    """
    out = onnx_folder / name
    out.mkdir(parents=True)
    if variant.bits == 32:
        traced(merged, out, opset)
    else:
        quantised(onnx_folder / "fp32" / "model.onnx", out / "model.onnx", variant)
    log.info("%s: %.1f MB", out, sum(file.stat().st_size for file in out.glob("model.onnx*")) / 1e6)
    for name in BESIDE:
        shutil.copyfile(merged / name, out / name)
    chat.copy(merged, out, (merged / "chat_template.jinja").read_text(encoding="utf-8"))


def traced(merged: Path, out: Path, opset: int) -> None:
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


def quantised(source: Path, out: Path, variant: Variant) -> None:
    """The same graph with its weights in `variant.bits` bits, one scale to a block of `variant.block` weights.

    Weights only (MatMulNBits): activations stay fp32, so a row's text never depends on the rows beside it.
    ValueError when the block is none of BLOCKS, or when nothing was quantised.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    if variant.block not in BLOCKS:
        raise ValueError(f"export.variants: a block of {variant.block} is none of {', '.join(map(str, BLOCKS))}")
    config = DefaultWeightOnlyQuantConfig(block_size=variant.block, bits=variant.bits, accuracy_level=4)
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    model = quantizer.model.model
    if not any(node.op_type == "MatMulNBits" for node in model.graph.node):
        raise ValueError(f"{source}: nothing in it could be quantised, for no MatMul has weights; choose export=fp32")
    large = source.stat().st_size > 2**30 or source.with_name("model.onnx_data").exists()
    onnx.save(model, out, save_as_external_data=large, location="model.onnx_data")
