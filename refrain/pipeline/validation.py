"""What no stage could honour: one sentence, with the way out, for each value or combination."""

from collections.abc import Iterator

from refrain.pipeline import source_options
from refrain.pipeline.export_validation import export_problems, gguf_problems
from refrain.pipeline.schema import (
    TRACKERS,
    AugmentationConfig,
    Config,
    DataConfig,
    LaunchConfig,
    MethodConfig,
    Policies,
    TinyConfig,
    TrainConfig,
)


def problems(cfg: Config) -> Iterator[str]:
    """One sentence, with the way out, for each value or combination that no stage could honour."""
    model, data = cfg.model, cfg.data
    origins = [model.hub, model.folder, model.tiny]
    if sum(origin is not None for origin in origins) != 1:
        yield "model needs exactly one of model.hub, model.folder and model.tiny; set the others to null"
    if model.hub is not None and model.revision is None:
        yield "model.hub needs model.revision: a commit, a tag or a branch such as main"
    if model.tiny is not None:
        yield from tiny_problems(model.tiny)
    yield from method_problems(cfg.method)
    yield from training_problems(cfg.train, cfg.launch, cfg.method)
    yield from data_problems(data)
    for name, at_least_one in (
        ("merge.prompts", cfg.merge.prompts),
        ("export.prompts", cfg.export.prompts),
        ("export.steps", cfg.export.steps),
        ("export.batch_size", cfg.export.batch_size),
        ("evaluate.batch_size", cfg.evaluate.batch_size),
    ):
        if at_least_one <= 0:
            yield f"{name}={at_least_one} must be above 0"
    if not cfg.merge.relative_logits > 0:
        yield f"merge.relative_logits={cfg.merge.relative_logits} must be above 0: other sums round otherwise"
    yield from export_problems(cfg.export)
    yield from gguf_problems(cfg.gguf)


def data_problems(data: DataConfig) -> Iterator[str]:
    """What no row could satisfy."""
    if not data.sources:
        yield "data.sources is empty; name a file: data.sources=[{path: some/file.csv}]"
    for index, source in enumerate(data.sources):
        yield from source_options.source_problems(f"data.sources[{index}]", source)
    if not (data.val_fraction >= 0 and data.test_fraction >= 0 and data.val_fraction + data.test_fraction < 1):
        yield "data.val_fraction and data.test_fraction must not be negative and must leave rows to train on"
    if not 0 < data.train_fraction <= 1:
        yield f"data.train_fraction={data.train_fraction} is no share above 0, up to 1; 1 learns from all training rows"
    if data.max_tokens <= 0:
        yield f"data.max_tokens={data.max_tokens} must be above 0"
    if not 0 <= data.max_quarantined <= 1:
        yield f"data.max_quarantined={data.max_quarantined} is no share from 0 to 1; 1 stops at none"
    if data.engine not in ("local", "ray"):
        yield f"data.engine={data.engine} is neither local nor ray"
    if data.workers is not None and data.workers <= 0:
        yield f"data.workers={data.workers} must be above 0; null takes every core"
    yield from policy_problems(data.policies)
    yield from augmentation_problems(data.augment)
    leaks = data.leaks
    share = leaks.near_duplicate_threshold
    if share is not None and not 0 < share <= 1:
        yield f"data.leaks.near_duplicate_threshold={share} is no share above 0; null compares no wording"
    if leaks.ngram_size <= 0:
        yield f"data.leaks.ngram_size={leaks.ngram_size} must be above 0"
    if leaks.contamination_ngram is not None and leaks.contamination_ngram <= 0:
        yield f"data.leaks.contamination_ngram={leaks.contamination_ngram} must be above 0; null looks for none"


def policy_problems(policies: Policies) -> Iterator[str]:
    """Values outside of the closed choices."""
    for name, choices in POLICIES.items():
        if getattr(policies, name) not in choices:
            yield f"data.policies.{name}={getattr(policies, name)} is none of {', '.join(choices)}"
    for kind in policies.pii:
        if kind not in PII:
            yield f"data.policies.pii: {kind} is none of {', '.join(PII)}"


POLICIES = {
    "whitespace": ("keep", "strip"),
    "empty": ("drop", "remove"),
    "system": ("keep", "remove", "drop"),
    "order": ("keep", "merge", "drop"),
    "unanswered": ("drop", "cut"),
    "tree": ("all", "best"),
    "answers": ("keep", "first", "drop"),
    "overlong": ("drop", "cut", "fail"),
}


PII = ("email", "phone", "iban")


def augmentation_problems(augment: AugmentationConfig) -> Iterator[str]:
    """One sentence, with the way out, for each value that no variant could honour."""
    for template in augment.paraphrases:
        if "{prompt}" not in template:
            yield f"data.augment.paraphrases: {template!r} asks nothing; write {{prompt}} where the question belongs"
    for name in ("noise", "truncate"):
        if not 0 <= getattr(augment, name) <= 1:
            yield f"data.augment.{name}={getattr(augment, name)} is no share from 0 to 1"


def method_problems(method: MethodConfig) -> Iterator[str]:
    """Points on the axes of a method where nothing could be learned."""
    adapter, preference = method.adapter, method.preference
    if method.weights not in ("pretrained", "random"):
        yield f"method.weights={method.weights} is neither pretrained nor random"
    if method.weights == "random" and (method.base_bits == 4 or method.init_adapter is not None):
        yield "method.weights=random has nothing to freeze or go on from; set base_bits and start of method to null"
    if method.weights == "random" and adapter is not None:
        yield "method.weights=random needs method.adapter=null: an adapter cannot teach frozen random weights"
    if method.base_bits not in (None, 4):
        yield f"method.base_bits={method.base_bits} is neither 4 nor null"
    if method.base_bits == 4 and adapter is None:
        yield "method.base_bits=4 needs method.adapter: 4-bit weights are frozen; choose method=qlora"
    if method.init_adapter == "":
        yield ("method.init_adapter has no value yet; give one: -S 'method.init_adapter=...', "
               "the commit or tag of an earlier adapter")  # fmt: skip
    if method.init_adapter is not None and adapter is None:
        yield "method.init_adapter needs method.adapter: what is trained further is an adapter; choose method=continue"
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
        if adapter.init == "pissa" and method.init_adapter is not None:
            yield "method.init_adapter has matrices of its own, so pissa has no say; set method.adapter.init=zero"
        if adapter.layers is not None and not adapter.layers:
            yield "method.adapter.layers=[] leaves nothing to train; null is all linear layers but the head"
    if preference is not None:
        if preference.loss not in LOSSES:
            yield f"method.preference.loss={preference.loss} is none of {', '.join(LOSSES)}"
        for name in ("beta", "desirable_weight", "undesirable_weight"):
            if (value := getattr(preference, name)) <= 0:
                yield f"method.preference.{name}={value} must be above 0"
        if method.weights == "random":
            yield "method.preference needs method.weights=pretrained: random weights prefer nothing"


def training_problems(train: TrainConfig, launch: LaunchConfig, method: MethodConfig) -> Iterator[str]:
    """What no trainer could do."""
    for name in ("lr", "epochs", "batch_size", "micro_batch_tokens"):
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


def tiny_problems(tiny: TinyConfig) -> Iterator[str]:
    """What keeps a Llama of this shape from being built."""
    if tiny.width % (2 * tiny.heads):
        yield f"model.tiny.width={tiny.width} must be an even multiple of model.tiny.heads={tiny.heads}"
    if tiny.heads % tiny.kv_heads:
        yield f"model.tiny.heads={tiny.heads} must be a multiple of model.tiny.kv_heads={tiny.kv_heads}"
    if tiny.vocabulary < 300:
        yield f"model.tiny.vocabulary={tiny.vocabulary} must be at least 300: 256 bytes and the special tokens"
