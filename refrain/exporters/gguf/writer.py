"""A model folder as one GGUF file: keys, then tensors, a layer in memory at a time."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType

from refrain.chat.encoding import load_tokenizer
from refrain.exporters.architectures import families, gguf_choice
from refrain.exporters.architectures.decoder import Decoder
from refrain.exporters.gguf import settings, tensors, vocabulary

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
TABLES = {"token_embd.weight", "output.weight"}  # which suffer most from few bits
IN_TABLES = {"q4_0": GGMLQuantizationType.Q8_0}
IN_FULL = {"position_embd.weight"}
BLOCK = 32  # weights that share a scale


def write_file(folder: Path, path: Path, kind: str, lineage: Mapping[str, str] | None = None) -> None:
    """Everything that llama.cpp needs; ValueError, before a file is there, for what has no place in one."""
    graph, tokenizer = gguf_choice.require_writable(folder, folder), load_tokenizer(folder)
    decoder, stored = families.read_decoder(folder)
    writer = gguf.GGUFWriter(path, graph.name)
    writer.add_type("model")
    for key, value in (lineage or {}).items():
        writer.add_string(key, value)
    writer.add_file_type(TYPES[kind][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    settings.describe_decoder(writer, decoder, graph)
    vocabulary.describe_vocabulary(writer, tokenizer, len(decoder.embedding))
    for name, tensor in tensors.list_tensors(outline_of(folder, decoder), graph):
        stored_as = choose_type(name, tensor.shape, kind)
        size = int(np.prod(gguf.quant_shape_to_byte_shape(tensor.shape, stored_as)))
        writer.add_tensor_info(name, tensor.shape, np.dtype(np.float32), size, raw_dtype=stored_as)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, tensor in tensors.list_tensors(decoder, graph):
        stored_as = choose_type(name, tensor.shape, kind)
        writer.write_tensor_data(gguf.quantize(np.ascontiguousarray(tensor), stored_as))
    stored.require_all_read()
    writer.close()


def outline_of(folder: Path, decoder: Decoder) -> Decoder:
    """The decoder with shapes in place of layers, so that all sizes are known before a layer is read."""
    outline, _ = families.read_decoder(folder, headers_only=True)
    return replace(outline, lm_head=decoder.lm_head)  # whether it is the embedding only values tell


def choose_type(name: str, shape: tuple[int, ...], kind: str) -> GGMLQuantizationType:
    """Vectors stay in fp32; rows that no whole blocks fill become F16 where they were to be quantised."""
    wanted = TYPES[kind][0]
    if len(shape) == 1 or name in IN_FULL:
        return GGMLQuantizationType.F32
    if kind in ("q8_0", "q4_0") and shape[-1] % BLOCK:
        return GGMLQuantizationType.F16
    return IN_TABLES.get(kind, wanted) if name in TABLES else wanted
