"""What no export could honour, of the sections `export` and `gguf`."""

from collections.abc import Iterator

from refrain.pipeline.export_schema import BLOCKS, GGUF_TYPES, KINDS, ExportConfig, GgufConfig, QuantizationConfig


def export_problems(export: ExportConfig) -> Iterator[str]:
    """What no graph can hold, and what leaves nothing to choose from."""
    if export.graph not in (None, "compact", "optimum"):
        yield f"export.graph={export.graph} is neither compact nor optimum nor null"
    for name, variant in export.variants.items():
        at = f"export.variants.{name}"
        yield from quantization_problems(f"{at}.weights", variant.weights, export.graph)
        for number, weights in enumerate(variant.fallbacks):
            yield from quantization_problems(f"{at}.fallbacks[{number}]", weights, export.graph)
        if (limit := variant.thresholds.relative_logits) is not None and not limit > 0:
            yield f"{at}.thresholds.relative_logits={limit} must be above 0; null compares no logits"
        if name == "best" or "/" in name or name.startswith("."):
            yield f"export.variants.{name} is no name of a variant; best is that of a copy, others of a folder"
    settings = [weights for each in export.variants.values() for weights in (each.weights, *each.fallbacks)]
    unused = set() if any(weights.activations for weights in settings) else {"int8_token"}  # older presets lack it
    if missing := set(KINDS) - unused - export.cost.keys():
        yield f"export.cost has no entry for {', '.join(sorted(missing))}; give the microseconds of a million weights"
    fp32 = export.variants.get("fp32")
    if fp32 is None or fp32.weights.bits != 32:
        yield "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others"
    elif any(weights.kv_bits == 8 for weights in (fp32.weights, *fp32.fallbacks)):
        yield "export.variants.fp32.weights.kv_bits=8: the scales of others are measured in fp32; keep it at 32"
    elif not any(variant.thresholds.required for variant in export.variants.values()):
        yield "export.variants: none is required, so none may be left; set ...fp32.thresholds.required=true"
    if export.best is not None and export.best not in export.variants:
        yield f"export.best={export.best} is none of export.variants: {', '.join(export.variants)}"


def gguf_problems(gguf: GgufConfig) -> Iterator[str]:
    """Types that nobody writes, and comparisons of nothing."""
    for kind in gguf.types:
        if kind not in GGUF_TYPES:
            yield f"gguf.types: {kind} is none of {', '.join(GGUF_TYPES)}; llama-quantize makes others of f32"
        elif kind not in gguf.thresholds:
            yield f"gguf.thresholds has no entry for {kind}; give what it must reach"
    if len({*gguf.types}) < len(gguf.types):
        yield "gguf.types names a type twice"
    for name, at_least_one in (("prompts", gguf.prompts), ("steps", gguf.steps)):
        if at_least_one <= 0:
            yield f"gguf.{name}={at_least_one} must be above 0"


def quantization_problems(at: str, weights: QuantizationConfig, graph: str | None) -> Iterator[str]:
    """Settings of weights that no graph can hold."""
    if weights.bits not in (32, 16, 8, 4):
        yield f"{at}.bits={weights.bits} is none of 32, 16, 8 and 4"
    if weights.activations is not None:
        yield from token_problems(at, weights)
    elif weights.block is None and (weights.bits == 4 or weights.head_bits in (4, 8)):
        yield f"{at}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
    if weights.block is not None and weights.block not in BLOCKS:
        yield f"{at}.block={weights.block} is none of {', '.join(map(str, BLOCKS))}"
    if weights.head_bits not in (None, 32, 8, 4):
        yield f"{at}.head_bits={weights.head_bits} is none of 32, 8, 4 and null"
    if weights.kv_bits not in (32, 8):
        yield f"{at}.kv_bits={weights.kv_bits} is neither 32 nor 8"
    if weights.kv_bits == 8 and graph == "optimum":
        yield f"{at}.kv_bits=8 needs the compact graph; leave export.graph null or take 32 bits"
    if weights.accuracy not in (0, 4):
        yield f"{at}.accuracy={weights.accuracy} is neither 4, products in 8 bits, nor 0, products in fp32"
    if weights.rounding not in ROUNDINGS:
        yield f"{at}.rounding={weights.rounding} is none of {', '.join(ROUNDINGS)}"
    if not 0 <= weights.sensitive_share <= 1:
        yield f"{at}.sensitive_share={weights.sensitive_share} is no share from 0 to 1"
    has_scales = weights.block is not None or weights.activations is not None
    if weights.sensitive_share > 0 and not (has_scales and weights.bits in (4, 8)):
        yield f"{at}.sensitive_share needs layers in 4 or 8 bits with a block; set it to 0"
    if weights.sensitive_bits not in (8, 32):
        yield f"{at}.sensitive_bits={weights.sensitive_bits} is neither 8 nor 32"
    if weights.bits == 16 and graph == "optimum":
        yield f"{at}.bits=16 needs the compact graph; leave export.graph null or take 32 bits"


def token_problems(at: str, weights: QuantizationConfig) -> Iterator[str]:
    """Settings that go with no scale by token and channel."""
    if weights.activations != "token":
        yield f"{at}.activations={weights.activations} is neither token nor null"
    elif weights.bits != 8:
        yield f"{at}.activations=token needs 8 bits; set it to null, or {at}.bits=8"
    elif weights.head_bits == 4 and weights.block is None:
        yield f"{at}.head_bits=4 needs blocks: give {at}.block, or take 8, 32 or null"
    elif not weights.symmetric:
        yield f"{at}.symmetric=false needs blocks, and activations=token has none; take true"
    elif weights.rounding != "nearest":
        yield f"{at}.rounding={weights.rounding} needs blocks, and activations=token has none; take nearest"
    elif weights.accuracy != 4:
        yield f"{at}.accuracy={weights.accuracy}: activations=token multiplies in 8 bits; take 4"


ROUNDINGS = ("nearest", "search")
