"""The gate: which variants reach their thresholds, and what is left out of the artifact because it does not."""

import filecmp
import json
import logging
import shutil
from pathlib import Path

import numpy as np

from refrain.chat import encoding, model_folder
from refrain.chat.records import Row
from refrain.evaluation import intervals
from refrain.evaluation.divergence import DivergenceStats
from refrain.pipeline.export_schema import Thresholds, VariantConfig
from refrain.runtime import onnx_folder

log = logging.getLogger(__name__)

FIRST_LOOK = 8  # prompts after which a variant may be given up by what they say alone
FAR = 2.0  # ... where even what chance leaves of it is so many times what is allowed


def require_same_tokenizer(reference: Path, folder: Path, rows: list[Row]) -> None:
    """ValueError, naming the folder, unless it makes the ids of prompts, and ends a reply, as was trained.

    One that has the very files of a reference does: a large tokenizer takes seconds to read.
    """
    if has_tokenizer_of(reference, folder):
        return
    name, expected, actual = folder.name, encoding.load_tokenizer(reference), encoding.load_tokenizer(folder)
    for row in rows:
        if encoding.encode_last_prompt(expected, row) != encoding.encode_last_prompt(actual, row):
            part = "chat template" if expected.template != actual.template else "tokenizer"
            raise ValueError(f"{name}: its {part} makes other ids of {row['id']} than the model was trained on")
    if expected.tokenizer.to_str() != actual.tokenizer.to_str():
        raise ValueError(f"{name}: its tokenizer.json is another than the one that the model was trained with")
    if expected.special_tokens != actual.special_tokens:
        raise ValueError(f"{name}: its tokenizer_config.json names the tokens {json.dumps(actual.special_tokens)}, "
                         f"the model was trained with {json.dumps(expected.special_tokens)}")  # fmt: skip
    settings = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    if settings.get("eos_token_id") != sorted(expected.stop_ids):
        raise ValueError(f"{name}: generation_config.json ends a reply with {settings.get('eos_token_id')}, "
                         f"the chat template with {sorted(expected.stop_ids)}")  # fmt: skip
    if (expected.stop_ids, expected.stop_strings) != (actual.stop_ids, actual.stop_strings):
        raise ValueError(
            f"{name}: its replies end with {describe_stops(actual)}, "
            f"those it was trained on with {describe_stops(expected)}"
        )


def has_tokenizer_of(reference: Path, folder: Path) -> bool:
    """Whether all files that make ids and end replies are the same in both folders, to the byte."""
    names = (*model_folder.TOKENIZER_FILES, "chat_template.jinja", *onnx_folder.CONFIGS)
    pairs = [(reference / name, folder / name) for name in names]
    return all(
        one.is_file() == other.is_file() and (not one.is_file() or filecmp.cmp(one, other, shallow=False))
        for one, other in pairs
    )


def describe_stops(tokenizer: encoding.ChatTokenizer) -> str:
    stop_tokens = [tokenizer.tokenizer.id_to_token(token) for token in sorted(tokenizer.stop_ids)]
    return json.dumps([*stop_tokens, *tokenizer.stop_strings])


def remove_failing(onnx: Path, variants: dict[str, VariantConfig], failures: dict[str, list[str]]) -> list[str]:
    """Remove the variants that fail, say why, and give what is left; ValueError naming the required ones among them."""
    required = [name for name in failures if variants[name].thresholds.required]
    if sentences := [sentence for name in required for sentence in failures[name]]:
        raise ValueError("; ".join(sentences))
    for name, sentences in failures.items():
        if sentences:
            log.warning("%s is left out: %s", name, "; ".join(sentences))
            shutil.rmtree(onnx / name)
    return [name for name, sentences in failures.items() if not sentences]


def require_within_reach(name: str, thresholds: Thresholds, positions: int, stats: DivergenceStats) -> None:
    """ValueError once a variant misses a threshold, by more than chance, whatever the rest of so many positions says.

    Of kl the tokens so far say what chance explains, and the first prompts that nothing will save it.
    """
    key = f"export.variants.{name}.thresholds"
    seen = f"given up after {len(stats.kl_divergences)} of {positions} tokens"
    if thresholds.relative_logits is None and thresholds.kl is not None:
        least = float(np.sum(stats.kl_divergences)) / positions
        interval = stats.kl_interval()
        if interval is not None and interval[0] > FAR * thresholds.kl and len(stats.mean_differences) >= FIRST_LOOK:
            low, high = interval
            raise ValueError(f"its next tokens diverge from the merged model's by {low:.2g} to {high:.2g} nats, "
                             f"{key}.kl allows {thresholds.kl:g}; {seen}")  # fmt: skip
        if least > thresholds.kl and interval is not None and interval[0] > thresholds.kl:
            raise ValueError(f"its next tokens diverge from the merged model's by at least {least:.2g} nats, "
                             f"{key}.kl allows {thresholds.kl:g}; {seen}")  # fmt: skip
    for agreement in stats.agreements.values():
        misses = agreement.count(False)
        interval = intervals.share_interval(positions - misses, positions)
        if interval is not None and interval[1] < thresholds.top1:
            raise ValueError(f"at most {1 - misses / positions:.1%} of its top1 tokens are the merged model's, "
                             f"{key}.top1 wants {thresholds.top1:.1%}; {seen}")  # fmt: skip
