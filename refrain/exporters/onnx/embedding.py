"""The table of tokens, stored once and read by both ends of a graph: rows for ids, and logits where it is the head."""

from refrain.exporters.architectures.decoder import Array
from refrain.exporters.onnx import integer_products, quantization
from refrain.exporters.onnx.builder import MICROSOFT, GraphBuilder
from refrain.exporters.onnx.integer_products import prefer_blocks
from refrain.exporters.onnx.layers import add_full_precision, add_matmul_nbits
from refrain.pipeline.export_schema import BLOCKS, QuantizationConfig


def add_embedding(builder: GraphBuilder, embedding: Array) -> list[str]:
    """The embedding as one constant, or as codes, scales and zero points: read by both ends of the graph."""
    precision = prefer_blocks(builder.precision)
    if integer_products.is_scaled_by_token(precision, embedding_bits(precision)):
        return integer_products.add_table(builder, embedding)
    block_size = embedding_block_size(embedding, precision)
    if block_size is None:
        return [add_full_precision(builder, "table", embedding)]
    blocks = quantization.quantize(
        embedding, embedding_bits(precision), block_size, precision.symmetric, precision.rounding
    )
    zeros = [] if blocks.zeros is None else [builder.add_constant("table.zeros", blocks.zeros)]
    codes, scales = (
        builder.add_constant("table.codes", blocks.codes),
        builder.add_constant("table.scales", blocks.scales),
    )
    return [codes, scales, *zeros]


def embedding_bits(precision: QuantizationConfig) -> int:
    """The bits of the embedding and of the head, which may be the same matrix."""
    return precision.head_bits or precision.bits


def embedding_block_size(embedding: Array, precision: QuantizationConfig) -> int | None:
    """Of the block sizes up to that of the variant the largest that divides the width; None: nothing is quantised."""
    if embedding_bits(precision) not in (4, 8):
        return None
    fitting = (size for size in reversed(BLOCKS) if size <= (precision.block or 0) and embedding.shape[1] % size == 0)
    return next(fitting, None)


def add_gather(builder: GraphBuilder, embedding: Array, parts: list[str], ids: str, output: str) -> str:
    """The rows of an embedding that ids name; `parts` are what add_embedding gave."""
    if len(parts) == 1:
        return builder.add_node("Gather", [*parts, ids], output)
    codes, *scales_and_zeros = parts
    precision = prefer_blocks(builder.precision)
    bits = embedding_bits(precision)
    if integer_products.is_scaled_by_token(precision, bits):
        return integer_products.add_table_gather(builder, parts, ids, output)
    flat = builder.add_reshaped_constant("table.flat", codes, [len(embedding), embedding.shape[1] * bits // 8])
    attributes = {
        "bits": bits,
        "block_size": embedding_block_size(embedding, precision),
        "gather_axis": 0,
        "quantize_axis": 1,
    }
    return builder.add_node("GatherBlockQuantized", [flat, ids, *scales_and_zeros], output, MICROSOFT, **attributes)


def add_tied_head(builder: GraphBuilder, embedding: Array, parts: list[str], hidden: str, output: str) -> str:
    """Logits from the embedding."""
    if len(parts) == 1:
        return builder.add_node("FusedMatMul", [hidden, *parts], output, MICROSOFT, transB=1)
    precision = prefer_blocks(builder.precision)
    bits, size = embedding_bits(precision), embedding_block_size(embedding, precision)
    if integer_products.is_scaled_by_token(precision, bits):
        return integer_products.add_table_product(builder, parts, len(embedding), hidden, output)
    return add_matmul_nbits(builder, [hidden, *parts], output, embedding.shape, bits, size or 0)
