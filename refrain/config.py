"""The shape of params.yaml. Types live here, values live in conf/."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class Source:
    """One file of rows. Elements of a list have no place in conf/ for defaults, so they stand here."""

    path: str = MISSING
    shape: str | None = None  # null: recognised from the rows
    split: str | None = None  # train, val or test: all its rows go there; null: by the fractions
    fields: dict[str, str] = field(default_factory=dict)  # our name: the file's column


@dataclass
class Data:
    name: str = MISSING
    folder: str = MISSING  # where relative paths of sources begin
    sources: list[Source] = MISSING
    val_fraction: float = MISSING
    test_fraction: float = MISSING


@dataclass
class Tiny:
    """A Llama-shaped model and its byte-level BPE tokenizer, both made from a plain-text corpus."""

    corpus: str = MISSING
    vocabulary: int = MISSING
    layers: int = MISSING
    width: int = MISSING
    heads: int = MISSING
    kv_heads: int = MISSING
    feed_forward: int = MISSING
    context: int = MISSING
    lr: float = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING


@dataclass
class Model:
    """Where the base comes from: exactly one of hub, folder and tiny is not null."""

    name: str = MISSING
    hub: str | None = MISSING  # a repository id
    revision: str | None = MISSING  # commit, tag or branch; the resolved commit is recorded
    folder: str | None = MISSING
    tiny: Tiny | None = MISSING


@dataclass
class Template:
    name: str = MISSING
    jinja: str | None = MISSING  # null: the model's own


@dataclass
class Adapter:
    rank: int = MISSING
    alpha: int = MISSING
    dropout: float = MISSING
    layers: list[str] | None = MISSING  # ends of their names; null: all linear layers but the head
    init: str = MISSING  # zero, or pissa: the principal components of the weights
    dora: bool = MISSING  # the size of each row of weights is learned apart from its direction
    rslora: bool = MISSING  # scaled by alpha / sqrt(rank)


@dataclass
class Preference:
    """Learning from pairs of a better and a worse reply."""

    loss: str = MISSING  # sigmoid (DPO), ipo, orpo or kto
    beta: float = MISSING  # the smaller, the further the model may go from where it began


@dataclass
class Method:
    """One point in the space of training methods. A null section switches that axis off."""

    name: str = MISSING
    weights: str = MISSING  # pretrained or random
    base_bits: int | None = MISSING  # 4: the frozen base as NF4 while an adapter learns; null: as it is
    adapter: Adapter | None = MISSING  # null: every weight is trained
    preference: Preference | None = MISSING  # null: the next token
    start: str | None = MISSING  # the Git revision whose models/adapter is trained further; null: a fresh one


@dataclass
class Train:
    lr: float = MISSING
    epochs: float = MISSING
    batch_size: int = MISSING  # rows of an optimiser step, over all processes and forward passes
    micro_tokens: int = MISSING  # tokens of a forward pass: the memory it takes, never the result
    packing: bool = MISSING  # rows of a forward pass one after the other, without padding
    max_tokens: int = MISSING
    warmup: float = MISSING  # fraction of the steps
    schedule: str = MISSING
    decay: float = MISSING  # fraction of the steps in which the rate falls; wsd alone reads it
    weight_decay: float = MISSING
    patience: int | None = MISSING  # epochs without a better validation loss; null: all epochs, the last weights
    precision: str | None = MISSING  # fp32, bf16 or fp16; null: what the device is made for
    gradient_checkpointing: bool = MISSING
    compile: bool = MISSING
    report_to: list[str] = MISSING  # of TRACKERS


@dataclass
class Launch:
    """How many processes a training runs in."""

    name: str = MISSING
    processes: int = MISSING
    shard: bool = MISSING  # weights, gradients and optimiser over the processes (FSDP)


@dataclass
class Merge:
    prompts: int = MISSING
    tolerance: float = MISSING


@dataclass
class Precision:
    """How weights are stored. As in Source, what an element of conf/ leaves out stands here."""

    bits: int = MISSING  # 32, 16 (on disk), 8 or 4
    block: int | None = None  # weights that share one scale; null with 8 bits: dynamic, activations in 8 bits too
    symmetric: bool = True  # false: a zero point to each block
    head_bits: int | None = None  # of the table of tokens and the head; null: as bits
    accuracy: int = 4  # of MatMulNBits: 4 multiplies in 8 bits, 0 in fp32
    rounding: str = "nearest"  # or search: scales of the least squared error


@dataclass
class Bars:
    """What a variant must reach, against the merged model."""

    logits: float | None = None  # largest difference of a logit
    kl: float | None = None  # divergence of the next token in nats: what rarely comes first counts here too
    top1: float = MISSING  # share of positions with the same likeliest token
    greedy: float = 0.0  # share of equal tokens in greedy decoding
    rouge: float | None = None  # points of ROUGE-L that it may lose
    required: bool = True  # false: a variant that fails is left out of models/onnx, and the run goes on


@dataclass
class Variant:
    weights: Precision = field(default_factory=Precision)
    bars: Bars = field(default_factory=Bars)


@dataclass
class Export:
    name: str = MISSING
    graph: str | None = MISSING  # compact or optimum; null: compact for the families it knows
    opset: int = MISSING  # of optimum's graph
    variants: dict[str, Variant] = MISSING
    best: str | None = MISSING  # the variant in models/onnx/best; null: the one of least cost
    cost: dict[str, float] = MISSING  # microseconds to read and multiply a million weights that are fp32, int8, int4
    prompts: int = MISSING
    steps: int = MISSING
    batch_size: int = MISSING


@dataclass
class Evaluate:
    max_rows: int = MISSING
    max_new_tokens: int = MISSING
    batch_size: int = MISSING


@dataclass
class Composed:
    """Written by the compose stage: what conf/ was, and how params.yaml differs from it."""

    conf: str = MISSING  # fingerprints: of conf/, and of the values that were written
    params: str = MISSING
    overrides: list[str] = MISSING


@dataclass
class Config:
    seed: int = MISSING
    data: Data = MISSING
    model: Model = MISSING
    template: Template = MISSING
    method: Method = MISSING
    train: Train = MISSING
    launch: Launch = MISSING
    merge: Merge = MISSING
    export: Export = MISSING
    evaluate: Evaluate = MISSING
    composed: Composed | None = None


def impossible(cfg: Config) -> Iterator[str]:
    """One sentence, with the way out, for each value or combination that no stage could honour."""
    model, data = cfg.model, cfg.data
    origins = [model.hub, model.folder, model.tiny]
    if sum(origin is not None for origin in origins) != 1:
        yield "model needs exactly one of model.hub, model.folder and model.tiny; set the others to null"
    if model.hub is not None and model.revision is None:
        yield "model.hub needs model.revision: a commit, a tag or a branch such as main"
    if model.tiny is not None:
        yield from impossible_shape(model.tiny)
    yield from impossible_method(cfg.method)
    yield from impossible_training(cfg.train, cfg.launch, cfg.method)
    if not data.sources:
        yield "data.sources is empty; name a file: data.sources=[{path: some/file.csv}]"
    for source in data.sources:
        if source.split not in (None, "train", "val", "test"):
            yield f"data.sources: split={source.split} of {source.path} is none of train, val, test and null"
    if not (data.val_fraction >= 0 and data.test_fraction >= 0 and data.val_fraction + data.test_fraction < 1):
        yield "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    for name, at_least_one in (
        ("merge.prompts", cfg.merge.prompts),
        ("export.prompts", cfg.export.prompts),
        ("export.steps", cfg.export.steps),
        ("export.batch_size", cfg.export.batch_size),
        ("evaluate.batch_size", cfg.evaluate.batch_size),
    ):
        if at_least_one <= 0:
            yield f"{name}={at_least_one} must be above 0"
    yield from impossible_export(cfg.export)


def impossible_method(method: Method) -> Iterator[str]:
    """Points on the axes of a method where nothing could be learned."""
    adapter, preference = method.adapter, method.preference
    if method.weights not in ("pretrained", "random"):
        yield f"method.weights={method.weights} is neither pretrained nor random"
    if method.weights == "random" and (method.base_bits == 4 or method.start is not None):
        yield "method.weights=random has nothing to freeze or go on from; set base_bits and start of method to null"
    if method.weights == "random" and adapter is not None:
        yield "method.weights=random needs method.adapter=null: an adapter cannot teach frozen random weights"
    if method.base_bits not in (None, 4):
        yield f"method.base_bits={method.base_bits} is neither 4 nor null"
    if method.base_bits == 4 and adapter is None:
        yield "method.base_bits=4 needs method.adapter: 4-bit weights are frozen; choose method=qlora"
    if method.start == "":
        yield "method.start has no value yet; give one: -S 'method.start=...', the commit or tag of an earlier adapter"
    if method.start is not None and adapter is None:
        yield "method.start needs method.adapter: what is trained further is an adapter; choose method=continue"
    if adapter is not None:
        if adapter.rank <= 0:
            yield f"method.adapter.rank={adapter.rank} must be above 0"
        if adapter.alpha <= 0:
            yield f"method.adapter.alpha={adapter.alpha} must be above 0"
        if not 0 <= adapter.dropout < 1:
            yield f"method.adapter.dropout={adapter.dropout} is no share below 1"
        if adapter.init not in INITS:
            yield f"method.adapter.init={adapter.init} is none of {', '.join(INITS)}"
        if adapter.init == "pissa" and method.base_bits == 4:
            yield "method.adapter.init=pissa takes its components from the weights; set method.base_bits=null"
        if adapter.init == "pissa" and method.start is not None:
            yield "method.start has its own matrices to begin with, so pissa has no say; set method.adapter.init=zero"
        if adapter.layers is not None and not adapter.layers:
            yield "method.adapter.layers=[] leaves nothing to train; null is all linear layers but the head"
    if preference is not None:
        if preference.loss not in LOSSES:
            yield f"method.preference.loss={preference.loss} is none of {', '.join(LOSSES)}"
        if preference.beta <= 0:
            yield f"method.preference.beta={preference.beta} must be above 0"
        if method.weights == "random":
            yield "method.preference needs method.weights=pretrained: random weights prefer nothing"


def impossible_training(train: Train, launch: Launch, method: Method) -> Iterator[str]:
    """What no trainer could do."""
    for name in ("lr", "epochs", "batch_size", "micro_tokens", "max_tokens"):
        if getattr(train, name) <= 0:
            yield f"train.{name}={getattr(train, name)} must be above 0"
    if train.schedule not in SCHEDULES:
        yield f"train.schedule={train.schedule} is none of {', '.join(SCHEDULES)}"
    if not (train.warmup >= 0 and train.decay >= 0 and train.warmup + train.decay <= 1):
        yield f"train.warmup={train.warmup} and train.decay={train.decay} must be shares of the steps, 1 at most in sum"
    if train.patience is not None and train.patience <= 0:
        yield f"train.patience={train.patience} must be above 0; null never stops early"
    if train.precision not in (None, "fp32", "bf16", "fp16"):
        yield f"train.precision={train.precision} is none of fp32, bf16, fp16 and null"
    for name in train.report_to:
        if name not in TRACKERS:
            yield f"train.report_to: {name} is none of {', '.join(TRACKERS)}"
    if launch.processes <= 0:
        yield f"launch.processes={launch.processes} must be above 0"
    if launch.shard and launch.processes == 1:
        yield "launch.shard=true needs launch.processes above 1: there is nothing to share the weights with"
    if launch.processes > 1 and method.base_bits == 4 and launch.shard:
        yield "launch.shard=true cannot share 4-bit weights; set method.base_bits=null or launch.shard=false"


INITS = ("zero", "pissa")
LOSSES = ("sigmoid", "ipo", "orpo", "kto")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "wsd")
TRACKERS = ("wandb", "mlflow", "tensorboard", "comet")


def impossible_export(export: Export) -> Iterator[str]:
    """What no graph can hold, and what leaves nothing to choose from."""
    if export.graph not in (None, "compact", "optimum"):
        yield f"export.graph={export.graph} is neither compact nor optimum nor null"
    for name, variant in export.variants.items():
        at, weights = f"export.variants.{name}.weights", variant.weights
        if weights.bits not in (32, 16, 8, 4):
            yield f"{at}.bits={weights.bits} is none of 32, 16, 8 and 4"
        if weights.block is None and (weights.bits == 4 or weights.head_bits in (4, 8)):
            yield f"{at}.block=null needs 8 bits for all weights: dynamic quantisation; give the weights a block of 64"
        if weights.block is not None and weights.block not in BLOCKS:
            yield f"{at}.block={weights.block} is none of {', '.join(map(str, BLOCKS))}"
        if weights.head_bits not in (None, 32, 8, 4):
            yield f"{at}.head_bits={weights.head_bits} is none of 32, 8, 4 and null"
        if weights.accuracy not in (0, 4):
            yield f"{at}.accuracy={weights.accuracy} is neither 4, products in 8 bits, nor 0, products in fp32"
        if weights.rounding not in ROUNDINGS:
            yield f"{at}.rounding={weights.rounding} is none of {', '.join(ROUNDINGS)}"
        if weights.bits == 16 and export.graph == "optimum":
            yield f"{at}.bits=16 needs the compact graph; leave export.graph null or take 32 bits"
        if name == "best" or "/" in name or name.startswith("."):
            yield f"export.variants.{name} is no name of a variant; best is that of a copy, others of a folder"
    if not any(variant.bars.required for variant in export.variants.values()):
        yield "export.variants: none is required, so none may be left; set export.variants.fp32.bars.required=true"
    if missing := {"fp32", "int8", "int4"} - export.cost.keys():
        yield f"export.cost has no entry for {', '.join(sorted(missing))}; give the microseconds of a million weights"
    if "fp32" not in export.variants or export.variants["fp32"].weights.bits != 32:
        yield "export.variants needs fp32 with 32 bits: it is the link between PyTorch and the others"
    if export.best is not None and export.best not in export.variants:
        yield f"export.best={export.best} is none of export.variants: {', '.join(export.variants)}"


BLOCKS = (16, 32, 64, 128, 256)  # those that MatMulNBits has kernels for
ROUNDINGS = ("nearest", "search")


def impossible_shape(tiny: Tiny) -> Iterator[str]:
    """What keeps a Llama of this shape from being built."""
    if tiny.width % (2 * tiny.heads):
        yield f"model.tiny.width={tiny.width} must be an even multiple of model.tiny.heads={tiny.heads}"
    if tiny.heads % tiny.kv_heads:
        yield f"model.tiny.heads={tiny.heads} must be a multiple of model.tiny.kv_heads={tiny.kv_heads}"
    if tiny.vocabulary < 300:
        yield f"model.tiny.vocabulary={tiny.vocabulary} must be at least 300: 256 bytes and the special tokens"
