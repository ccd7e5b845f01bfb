"""The gate: which links of the chain hold, and what is left out of the artifact because it does not."""

import json
import logging
import shutil
from math import inf
from pathlib import Path

from refrain.chat import encoding
from refrain.chat.records import Row
from refrain.evaluation.parity import ParityResult
from refrain.pipeline.schema import Thresholds, VariantConfig

log = logging.getLogger(__name__)


def require_same_tokenizer(trained: Path, folder: Path, rows: list[Row]) -> None:
    """ValueError, naming the folder, unless it makes the ids of prompts, and ends a reply, as was trained."""
    link, right, got = folder.name, encoding.load_tokenizer(trained), encoding.load_tokenizer(folder)
    for row in rows:
        if encoding.encode_prompt(right, row["messages"][:-1]) != encoding.encode_prompt(got, row["messages"][:-1]):
            part = "chat template" if right.template != got.template else "tokenizer"
            raise ValueError(f"{link}: its {part} makes other ids of {row['id']} than the model was trained on")
    if right.tokenizer.to_str() != got.tokenizer.to_str():
        raise ValueError(f"{link}: its tokenizer.json is another than the one that the model was trained with")
    if right.special_tokens != got.special_tokens:
        raise ValueError(f"{link}: its tokenizer_config.json names the tokens {json.dumps(got.special_tokens)}, "
                         f"the model was trained with {json.dumps(right.special_tokens)}")  # fmt: skip
    if (right.stop_ids, right.stop_strings) != (got.stop_ids, got.stop_strings):
        raise ValueError(
            f"{link}: its replies end with {describe_ends(got)}, those it was trained on with {describe_ends(right)}"
        )
    settings = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    if settings.get("eos_token_id") != sorted(right.stop_ids):
        raise ValueError(f"{link}: generation_config.json ends a reply with {settings.get('eos_token_id')}, "
                         f"the chat template with {sorted(right.stop_ids)}")  # fmt: skip


def describe_ends(talk: encoding.ChatTokenizer) -> str:
    return json.dumps([talk.tokenizer.id_to_token(token) for token in sorted(talk.stop_ids)] + list(talk.stop_strings))


def remove_failing(
    onnx: Path, variants: dict[str, VariantConfig], proofs: dict[str, ParityResult]
) -> dict[str, list[str]]:
    """Remove the variants that fail, and say why for each; ValueError naming the required ones among them."""
    why = {name: failed_thresholds(name, variants[name].thresholds, proof) for name, proof in proofs.items()}
    if broken := [sentence for name in why if variants[name].thresholds.required for sentence in why[name]]:
        raise ValueError("; ".join(broken))
    for name, sentences in why.items():
        if sentences:
            log.warning("%s is left out: %s", name, "; ".join(sentences))
            shutil.rmtree(onnx / name)
    return why


def failed_thresholds(name: str, bars: Thresholds, proof: ParityResult) -> list[str]:
    """A sentence for each bar that the variant does not reach; nan reaches none."""
    at, result = f"export.variants.{name}.thresholds", []
    most = inf if bars.logits is None else bars.logits
    for way in ("whole", "cached", "batched", "chunked"):
        if not ((value := getattr(proof, way)) <= most and value < inf):
            result.append(f"{name}: its {way} logits differ from the merged model's by {value:.2g}, "
                          f"{at}.logits allows {most:g}")  # fmt: skip
    for kind in ("top1", "greedy"):
        if not (value := getattr(proof, kind)) >= (least := getattr(bars, kind)):
            result.append(f"{name}: {value:.1%} of its {kind} tokens are the merged model's, "
                          f"{at}.{kind} wants {least:.1%}")  # fmt: skip
    if bars.kl is not None and not proof.kl <= bars.kl:
        result.append(f"{name}: its next tokens diverge from the merged model's by {proof.kl:.2g} nats, "
                      f"{at}.kl allows {bars.kl:g}")  # fmt: skip
    if bars.rouge is not None and not proof.lost <= bars.rouge:
        result.append(f"{name}: its ROUGE-L is {proof.lost:.2f} points below the merged model's, "
                      f"{at}.rouge allows {bars.rouge:g}")  # fmt: skip
    return result
