"""The shape of the sections `export` and `gguf` of params.yaml."""

from dataclasses import dataclass, field

from refrain.pipeline.missing import MISSING

GGUF_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")
KINDS = ("fp32", "int8", "int8_token", "int4")  # of products, each with a cost of its own
BLOCKS = (16, 32, 64, 128, 256)  # those that MatMulNBits has kernels for


@dataclass(repr=False)
class QuantizationConfig:
    """How weights are stored. As in Source, what an element of conf/ leaves out stands here."""

    bits: int = MISSING  # 32, 16 (on disk), 8 or 4
    block: int | None = None  # weights that share one scale; with token: those of down and head; null, 8 bits: dynamic
    activations: str | None = None  # token, with 8 bits: in 8 bits, a scale to each, and to each channel of weights
    symmetric: bool = True  # false: a zero point to each block
    head_bits: int | None = None  # of the table of tokens and the head; null: as bits
    kv_bits: int = 32  # of keys and values in the cache: 32, or 8 with scales for each channel from training rows
    accuracy: int = 4  # of MatMulNBits: 4 multiplies in 8 bits, 0 in fp32
    rounding: str = "nearest"  # or search: scales of the least squared error
    sensitive_share: float = 0.0  # of the layers: those that suffer most from few bits, measured, get sensitive_bits
    sensitive_bits: int = 8  # 8 or 32


@dataclass(repr=False)
class Thresholds:
    """What a variant must reach, against the merged model."""

    relative_logits: float | None = None  # largest difference of a logit, in standard deviations of its position's
    kl: float | None = None  # divergence of the next token in nats: what rarely comes first counts here too
    top1: float = MISSING  # share of positions with the same likeliest token
    greedy: float = 0.0  # share of equal tokens in greedy decoding
    rouge: float | None = None  # points of ROUGE-L that it may lose
    required: bool = False  # true: a variant that fails ends the run; false: it is left out of models/onnx


@dataclass(repr=False)
class VariantConfig:
    """One file of weights: how it is stored, and what it must reach."""

    weights: QuantizationConfig = field(default_factory=QuantizationConfig)
    thresholds: Thresholds = field(default_factory=Thresholds)
    fallbacks: list[QuantizationConfig] = field(default_factory=list)  # tried in turn while thresholds are missed


@dataclass(repr=False)
class ExportConfig:
    """The ONNX variants, and on what each is held to the merged model."""

    name: str = MISSING
    graph: str | None = MISSING  # compact or optimum; null: compact for the families it knows
    opset: int = MISSING  # of optimum's graph
    variants: dict[str, VariantConfig] = MISSING
    best: str | None = MISSING  # the variant in models/onnx/best; null: the one of least cost
    cost: dict[str, float] = MISSING  # microseconds to read and multiply a million weights, by their kind
    prompts: int = MISSING
    steps: int = MISSING
    batch_size: int = MISSING


@dataclass(repr=False)
class GgufThresholds:
    """What a GGUF file must reach in llama.cpp, against the merged model."""

    relative_logits: float | None = MISSING  # largest difference of a logit, in standard deviations of its position's
    kl: float | None = MISSING  # divergence of the next token in nats
    top1: float = MISSING  # share of positions with the same likeliest token
    texts: float = MISSING  # share of texts of which llama.cpp makes the same prompt and the same ids
    required: bool = MISSING  # true: a file that fails ends the run; false: it is left out of models/gguf


@dataclass(repr=False)
class GgufConfig:
    """The files for llama.cpp, and on what each is held to the merged model."""

    name: str = MISSING
    types: list[str] = MISSING  # of GGUF_TYPES; []: no files, and llama.cpp is not asked
    prompts: int = MISSING  # held-out rows on which llama.cpp and the merged model are compared
    steps: int = MISSING  # tokens of each reply
    thresholds: dict[str, GgufThresholds] = MISSING  # by type
