"""The gate: which variants reach their thresholds, and what is left out of the artifact because it does not."""

import json
import logging
import shutil
from math import inf
from pathlib import Path

import numpy as np

from refrain.chat import encoding
from refrain.chat.records import Row
from refrain.evaluation import divergence
from refrain.evaluation.divergence import DivergenceStats
from refrain.evaluation.parity import ParityResult
from refrain.pipeline.schema import Thresholds, VariantConfig

log = logging.getLogger(__name__)


def require_same_tokenizer(reference: Path, folder: Path, rows: list[Row]) -> None:
    """ValueError, naming the folder, unless it makes the ids of prompts, and ends a reply, as was trained."""
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


def failed_thresholds(name: str, thresholds: Thresholds, parity: ParityResult) -> list[str]:
    """A sentence for each threshold that the variant does not reach; nan reaches none."""
    key, sentences = f"export.variants.{name}.thresholds", []
    limit = thresholds.relative_logits
    slack = 1.0 if limit is None else divergence.rounding_slack(limit, parity.rounding)
    for mode in ("whole", "cached", "batched", "chunked"):
        if not ((value := getattr(parity, mode)) <= (inf if limit is None else limit * slack) and value < inf):
            allowed = "any finite one" if limit is None else divergence.describe_limit(limit, slack)
            sentences.append(f"{name}: its {mode} logits differ from the merged model's by {value:.2g} standard "
                             f"deviations, {key}.relative_logits allows {allowed}")  # fmt: skip
    for kind in ("top1", "greedy"):
        if not (value := getattr(parity, kind)) >= (minimum := getattr(thresholds, kind)):
            sentences.append(f"{name}: {value:.1%} of its {kind} tokens are the merged model's, "
                             f"{key}.{kind} wants {minimum:.1%}")  # fmt: skip
    if thresholds.kl is not None and not parity.kl <= thresholds.kl * slack**2:  # it grows with the square of logits
        sentences.append(f"{name}: its next tokens diverge from the merged model's by {parity.kl:.2g} nats, "
                         f"{key}.kl allows {divergence.describe_limit(thresholds.kl, slack**2)}")  # fmt: skip
    if thresholds.rouge is not None and not parity.lost <= thresholds.rouge:
        sentences.append(f"{name}: its ROUGE-L is {parity.lost:.2f} points below the merged model's, "
                         f"{key}.rouge allows {thresholds.rouge:g}")  # fmt: skip
    return sentences


def require_within_reach(name: str, thresholds: Thresholds, positions: int, stats: DivergenceStats) -> None:
    """ValueError once a variant misses a threshold whatever the rest of so many positions says: bounds, no guess."""
    key = f"export.variants.{name}.thresholds"
    seen = f"given up after {len(stats.kl_divergences)} of {positions} tokens"
    if thresholds.relative_logits is None and thresholds.kl is not None:
        least = float(np.sum(stats.kl_divergences)) / positions
        if least > thresholds.kl:
            raise ValueError(f"its next tokens diverge from the merged model's by at least {least:.2g} nats, "
                             f"{key}.kl allows {thresholds.kl:g}; {seen}")  # fmt: skip
    for agreement in stats.agreements.values():
        most = 1 - agreement.count(False) / positions
        if most < thresholds.top1:
            raise ValueError(f"at most {most:.1%} of its top1 tokens are the merged model's, "
                             f"{key}.top1 wants {thresholds.top1:.1%}; {seen}")  # fmt: skip
