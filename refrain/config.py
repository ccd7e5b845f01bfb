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


@dataclass
class Method:
    """One point in the space of training methods. A null section switches that axis off."""

    name: str = MISSING
    weights: str = MISSING  # pretrained or random
    adapter: Adapter | None = MISSING  # null: every weight is trained


@dataclass
class Train:
    lr: float = MISSING
    epochs: float = MISSING
    batch_size: int = MISSING
    accumulation: int = MISSING
    max_tokens: int = MISSING
    warmup: float = MISSING  # fraction of the steps
    schedule: str = MISSING
    weight_decay: float = MISSING


@dataclass
class Merge:
    prompts: int = MISSING
    tolerance: float = MISSING


@dataclass
class Variant:
    bits: int = MISSING  # 32 or 8
    block: int | None = MISSING  # weights that share one scale
    max_logit_difference: float | None = MISSING
    min_top1: float = MISSING
    min_greedy: float = MISSING


@dataclass
class Export:
    name: str = MISSING
    opset: int = MISSING
    variants: dict[str, Variant] = MISSING
    prompts: int = MISSING
    steps: int = MISSING


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
    merge: Merge = MISSING
    export: Export = MISSING
    evaluate: Evaluate = MISSING
    composed: Composed | None = None


def impossible(cfg: Config) -> Iterator[str]:
    """One sentence, with the way out, for each value or combination that no stage could honour."""
    model, method, data, train = cfg.model, cfg.method, cfg.data, cfg.train
    origins = [model.hub, model.folder, model.tiny]
    if sum(origin is not None for origin in origins) != 1:
        yield "model needs exactly one of model.hub, model.folder and model.tiny; set the others to null"
    if model.hub is not None and model.revision is None:
        yield "model.hub needs model.revision: a commit, a tag or a branch such as main"
    if model.tiny is not None:
        yield from impossible_shape(model.tiny)
    if method.weights not in ("pretrained", "random"):
        yield f"method.weights={method.weights} is neither pretrained nor random"
    if method.weights == "random" and method.adapter is not None:
        yield "method.weights=random needs method.adapter=null: an adapter cannot teach frozen random weights"
    if not data.sources:
        yield "data.sources is empty; name a file: data.sources=[{path: some/file.csv}]"
    for source in data.sources:
        if source.split not in (None, "train", "val", "test"):
            yield f"data.sources: split={source.split} of {source.path} is none of train, val, test and null"
    if not (data.val_fraction >= 0 and data.test_fraction >= 0 and data.val_fraction + data.test_fraction < 1):
        yield "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    for name in ("lr", "epochs", "batch_size", "accumulation", "max_tokens"):
        if getattr(train, name) <= 0:
            yield f"train.{name}={getattr(train, name)} must be above 0"
    if train.schedule not in SCHEDULES:
        yield f"train.schedule={train.schedule} is none of {', '.join(SCHEDULES)}"
    for name, variant in cfg.export.variants.items():
        if variant.bits not in (32, 8):
            yield f"export.variants.{name}.bits={variant.bits} is neither 32 nor 8"
        if variant.bits == 8 and variant.block is None:
            yield f"export.variants.{name}.bits=8 needs a block: the number of weights that share one scale, say 64"
    if "fp32" not in cfg.export.variants or cfg.export.variants["fp32"].bits != 32:
        yield "export.variants needs fp32 with bits 32: the other variants are made from it"


SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


def impossible_shape(tiny: Tiny) -> Iterator[str]:
    """What keeps a Llama of this shape from being built."""
    if tiny.width % (2 * tiny.heads):
        yield f"model.tiny.width={tiny.width} must be an even multiple of model.tiny.heads={tiny.heads}"
    if tiny.heads % tiny.kv_heads:
        yield f"model.tiny.heads={tiny.heads} must be a multiple of model.tiny.kv_heads={tiny.kv_heads}"
    if tiny.vocabulary < 300:
        yield f"model.tiny.vocabulary={tiny.vocabulary} must be at least 300: 256 bytes and the special tokens"
