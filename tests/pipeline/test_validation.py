import pytest
from light_stages import composed

INT4, INT8 = "export.variants.int4.weights", "export.variants.int8.weights"
NO_EXPORT = {
    "export.graph=onnx": "export.graph=onnx is neither compact nor optimum nor null",
    f"{INT4}.bits=5": f"{INT4}.bits=5 is none of 32, 16, 8 and 4",
    f"{INT4}.block=null": (
        f"{INT4}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
    ),
    f"{INT4}.bits=8 {INT4}.head_bits=4 {INT4}.block=null": (
        f"{INT4}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
    ),
    f"{INT4}.block=48": f"{INT4}.block=48 is none of 16, 32, 64, 128, 256",
    f"{INT4}.block=0": f"{INT4}.block=0 is none of 16, 32, 64, 128, 256",
    f"{INT4}.kv_bits=4": f"{INT4}.kv_bits=4 is neither 32 nor 8",
    f"{INT4}.kv_bits=8 export.graph=optimum": (
        f"{INT4}.kv_bits=8 needs the compact graph; leave export.graph null or take 32 bits"
    ),
    f"{INT4}.head_bits=16": f"{INT4}.head_bits=16 is none of 32, 8, 4 and null",
    f"{INT4}.accuracy=1": f"{INT4}.accuracy=1 is neither 4, products in 8 bits, nor 0, products in fp32",
    f"+{INT4}.activations=row": f"{INT4}.activations=row is neither token nor null",
    f"+{INT4}.activations=token": f"{INT4}.activations=token needs 8 bits; set it to null, or {INT4}.bits=8",
    f"{INT8}.head_bits=4": f"{INT8}.head_bits=4 needs blocks: give {INT8}.block, or take 8, 32 or null",
    f"{INT8}.symmetric=false": f"{INT8}.symmetric=false needs blocks, and activations=token has none; take true",
    f"{INT8}.rounding=search": f"{INT8}.rounding=search needs blocks, and activations=token has none; take nearest",
    f"{INT8}.accuracy=0": f"{INT8}.accuracy=0: activations=token multiplies in 8 bits; take 4",
    f"{INT4}.rounding=up": f"{INT4}.rounding=up is none of nearest, search",
    "~export.cost.int8 ~export.cost.fp32": (
        "export.cost has no entry for fp32, int8; give the microseconds of a million weights"
    ),
    "~export.cost.int8_token": "export.cost has no entry for int8_token; give the microseconds of a million weights",
    "export.variants.fp32.weights.bits=16": (
        "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others"
    ),
    "+export.variants.fp32.weights.kv_bits=8": (
        "export.variants.fp32.weights.kv_bits=8: the scales of others are measured in fp32; keep it at 32"
    ),
    "~export.variants.fp32": "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others",
    f"export.graph=optimum {INT4}.bits=16": (
        f"{INT4}.bits=16 needs the compact graph; leave export.graph null or take 32 bits"
    ),
    "+export.variants.best.weights.bits=32 +export.variants.best.thresholds.top1=1": (
        "export.variants.best is no name of a variant; best is that of a copy, others of a folder"
    ),
    "export.variants.fp32.thresholds.required=false export.variants.int8.thresholds.required=false": (
        "export.variants: none is required, so none may be left; set ...fp32.thresholds.required=true"
    ),
    "export.steps=0": "export.steps=0 must be above 0",
    "export.prompts=0": "export.prompts=0 must be above 0",
    "merge.prompts=0": "merge.prompts=0 must be above 0",
    "export.best=int2": "export.best=int2 is none of export.variants: fp32, int8, int4",
}
EXPORTS = [
    "export.graph=optimum export.best=int8",
    f"{INT4}.bits=8 {INT4}.head_bits=null {INT4}.block=null",
    f"{INT4}.head_bits=32 {INT4}.symmetric=false {INT4}.accuracy=0",
    f"{INT8}.block=64",
    f"{INT8}.block=64 {INT8}.head_bits=4",
    f"{INT8}.block=64 {INT8}.activations=null",
    f"{INT8}.block=64 {INT8}.activations=null export.variants.int8.fallbacks=[] ~export.cost.int8_token",
    f"+{INT8}.sensitive_share=0.25 +{INT8}.sensitive_bits=32",
    "+export.variants.half.weights.bits=16 +export.variants.half.thresholds.top1=0.99",
]


@pytest.mark.heavy
@pytest.mark.parametrize(("overrides", "sentence"), NO_EXPORT.items(), ids=NO_EXPORT)
def test_an_export_that_no_graph_can_hold_is_refused(overrides, sentence):
    with pytest.raises(ValueError) as error:
        composed(*overrides.split())
    assert str(error.value) == sentence


@pytest.mark.parametrize("overrides", EXPORTS)
def test_an_export_that_a_graph_can_hold_is_taken(overrides):
    assert composed(*overrides.split()).export != composed().export
