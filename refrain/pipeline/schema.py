"""The shape of params.yaml. Types live here, values live in conf/.

Nobody prints sections, and every start would pay for the methods that could.
"""

from dataclasses import dataclass, field

from refrain.pipeline.export_schema import ExportConfig, GgufConfig
from refrain.pipeline.missing import MISSING

TRACKERS = ("wandb", "mlflow", "tensorboard", "comet")


@dataclass(repr=False)
class SourceConfig:
    """Files of rows. Elements of a list have no place in conf/ for defaults, so they stand here."""

    path: str = ""  # a file, a folder, or a pattern such as some/*.jsonl; empty: hub is given
    hub: str | None = None  # in place of path, the id of a data set on the Hub
    revision: str | None = None  # of hub: commit, tag or branch; the resolved commit is recorded
    url: str | None = None  # of path, where a file is published that is not here yet; it is said, never fetched
    files: str | None = None  # of a folder, an archive or the Hub: a pattern, or the name of a split; null: all
    sheet: str | None = None  # of a workbook; null: the only one with rows
    shape: str | None = None  # null: recognised from the rows
    assistant: str | None = None  # of a table of turns: who is the assistant; null: whoever is called so
    split: str | None = None  # train, val or test: all its rows go there; random: by the fractions; null: as they say
    fields: dict[str, str] = field(default_factory=dict)  # our name: the file's column; `group`: rows of one split
    verdicts: dict[str, str] = field(default_factory=dict)  # first, second or tie: values of `verdict`, with commas
    encoding: str | None = None  # of a text file, such as cp1252; null: UTF-8, or UTF-16 where its first bytes say so
    delimiter: str | None = None  # between the cells of CSV and TSV; null, here and below: found from the rows
    quote: str | None = None  # around cells; "": none
    escape: str | None = None  # before a sign that is text; "": a quote within quotes stands twice
    header: bool | None = None  # whether the first row names the columns; without names they are column_1, column_2


@dataclass(repr=False)
class Policies:
    """What becomes of rows that are whole but may not be wanted; reports/data.json counts the effect of each."""

    whitespace: str = MISSING  # around a text: keep or strip
    empty: str = MISSING  # an empty turn: drop the row, or remove the turn
    system: str = MISSING  # system turns: keep, remove them, or drop the row
    order: str = MISSING  # neighbouring turns of one role: keep, merge them, or drop the row
    unanswered: str = MISSING  # a conversation that ends with the user: drop the row, or cut behind the last reply
    tree: str = MISSING  # a tree of messages: all paths, one conversation per leaf, or the best one
    answers: str = MISSING  # other answers to the same prompt: keep, the first, or drop all
    overlong: str = MISSING  # more than max_tokens: drop the row, cut at a turn, or fail
    pii: list[str] = MISSING  # masked in every text: of email, phone and iban


@dataclass(repr=False)
class LeakConfig:
    """What two prompts may have in common and still stand in different splits."""

    near_duplicate_threshold: float | None = MISSING  # share of n-grams (Jaccard), at most; null: all but equal prompts
    ngram_size: int = MISSING  # words in such an n-gram
    contamination_ngram: int | None = MISSING  # so many words of a held-out prompt are in no training row; null: any


@dataclass(repr=False)
class AugmentationConfig:
    """Variants of training rows, beside their parents."""

    paraphrases: list[str] = MISSING  # templates of a question, such as "Please tell me: {prompt}"
    merge_input: bool = MISSING  # an instruction with an input, said in one paragraph
    noise: float = MISSING  # share of the rows that get a variant with other case and punctuation
    truncate: float = MISSING  # share of the chats of several turns that get a variant without their first turns


@dataclass(repr=False)
class DataConfig:
    """Rows: where they come from, what becomes of each, and how they are split."""

    name: str = MISSING
    folder: str = MISSING  # where relative paths of sources begin
    sources: list[SourceConfig] = MISSING
    val_fraction: float = MISSING
    test_fraction: float = MISSING
    train_fraction: float = (
        MISSING  # share of the training rows that is learned from; a smaller one is part of a larger
    )
    max_tokens: int = MISSING  # of a row, with the template
    max_quarantined: float = MISSING  # share of the rows of a file that may be broken; 1: any
    policies: Policies = MISSING
    leaks: LeakConfig = MISSING
    augment: AugmentationConfig = MISSING
    engine: str = MISSING  # local processes, or ray
    workers: int | None = MISSING  # processes; null: one per core


@dataclass(repr=False)
class TinyConfig:
    """A Llama-shaped model and its byte-level BPE tokenizer, both made from a plain-text corpus."""

    corpus: str | None = MISSING  # a text, a paragraph a line; null: what the training rows of data.sources say
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


@dataclass(repr=False)
class ModelConfig:
    """Where the base comes from: exactly one of hub, folder and tiny is not null."""

    name: str = MISSING
    hub: str | None = MISSING  # a repository id
    revision: str | None = MISSING  # commit, tag or branch; the resolved commit is recorded
    folder: str | None = MISSING
    tiny: TinyConfig | None = MISSING


@dataclass(repr=False)
class TemplateConfig:
    """How turns are written as one text."""

    name: str = MISSING
    jinja: str | None = MISSING  # null: the model's own


@dataclass(repr=False)
class AdapterConfig:
    """Low-rank matrices beside frozen weights (LoRA)."""

    rank: int = MISSING
    alpha: int = MISSING
    dropout: float = MISSING
    layers: list[str] | None = MISSING  # ends of their names; null: all linear layers but the head
    init: str = MISSING  # zero, or pissa: the principal components of the weights
    dora: bool = MISSING  # the size of each row of weights is learned apart from its direction
    rslora: bool = MISSING  # scaled by alpha / sqrt(rank)


@dataclass(repr=False)
class PreferenceConfig:
    """Learning from replies that are better or worse than others, or good or bad."""

    loss: str = MISSING  # sigmoid (DPO), ipo, orpo or kto
    beta: float = MISSING  # the smaller, the further the model may go from where it began
    desirable_weight: float = MISSING  # of the loss of good replies; kto
    undesirable_weight: float = MISSING  # of the loss of bad replies; kto


@dataclass(repr=False)
class MethodConfig:
    """One point in the space of training methods. A null section switches that axis off."""

    name: str = MISSING
    weights: str = MISSING  # pretrained or random
    base_bits: int | None = MISSING  # 4: the frozen base as NF4 while an adapter learns; null: as it is
    adapter: AdapterConfig | None = MISSING  # null: every weight is trained
    preference: PreferenceConfig | None = MISSING  # null: the next token
    init_adapter: str | None = MISSING  # the Git revision whose models/adapter is trained further; null: a fresh one


@dataclass(repr=False)
class TrainConfig:
    """The optimiser's steps, and what a step holds."""

    lr: float = MISSING
    epochs: float = MISSING
    batch_size: int = MISSING  # rows of an optimiser step, over all processes and forward passes
    micro_batch_tokens: int = MISSING  # tokens of a forward pass: the memory it takes, never the result
    packing: bool = MISSING  # rows of a forward pass one after the other, without padding
    warmup: float = MISSING  # fraction of the steps
    schedule: str = MISSING
    decay: float = MISSING  # fraction of the steps in which the rate falls; wsd alone reads it
    weight_decay: float = MISSING
    patience: int | None = MISSING  # epochs without a better validation loss; null: all epochs, the last weights
    precision: str | None = MISSING  # fp32, bf16 or fp16; null: what the device is made for
    gradient_checkpointing: bool = MISSING
    compile: bool = MISSING
    report_to: list[str] = MISSING  # of TRACKERS
    recipe: str = MISSING  # the kind of base that the defaults here and of the adapter are made for


@dataclass(repr=False)
class LaunchConfig:
    """How many processes a training runs in."""

    name: str = MISSING
    processes: int = MISSING
    shard: bool = MISSING  # weights, gradients and optimiser over the processes (FSDP)


@dataclass(repr=False)
class MergeConfig:
    """How the merged weights are held to base and adapter."""

    prompts: int = MISSING
    relative_logits: float = MISSING  # largest difference of a logit, in standard deviations of its position's


@dataclass(repr=False)
class EvaluateConfig:
    """The rows that every model answers, and how."""

    max_rows: int = MISSING
    max_new_tokens: int = MISSING
    batch_size: int = MISSING


@dataclass(repr=False)
class CompositionRecord:
    """Written by the compose stage: what conf/ was, and how params.yaml differs from it."""

    conf: str = MISSING  # fingerprints: of conf/, and of the values that were written
    params: str = MISSING
    overrides: list[str] = MISSING


@dataclass(repr=False)
class Config:
    """All of params.yaml."""

    seed: int = MISSING
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    template: TemplateConfig = MISSING
    method: MethodConfig = MISSING
    train: TrainConfig = MISSING
    launch: LaunchConfig = MISSING
    merge: MergeConfig = MISSING
    export: ExportConfig = MISSING
    gguf: GgufConfig = MISSING
    evaluate: EvaluateConfig = MISSING
    composed: CompositionRecord | None = None
