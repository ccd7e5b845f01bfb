"""Proof that one model is another: the same logits and the same words, with a cache, without, alone and in a batch."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

import numpy as np

from refrain import chat, decoding, records
from refrain.chat import Chat
from refrain.config import Variant
from refrain.decoding import LanguageModel, Logits

log = logging.getLogger(__name__)


@dataclass
class Parity:
    """How far a model is from its reference on the same prompts."""

    uncached: float  # largest difference of a logit, whole sequences at once
    cached: float  # ... token by token on a cache
    padded: float  # ... token by token in one left-padded batch
    top1: float  # share of positions with the same likeliest token, in the worst of these three ways
    greedy: float  # share of equal tokens in greedy decoding, alone and in the batch

    def facts(self) -> dict[str, float]:
        """Two significant digits, since the last ones depend on the machine."""
        return {name: float(f"{value:.1e}") if value < 0.1 else round(value, 4) for name, value in asdict(self).items()}


def prompts(talk: Chat, folder: Path, count: int) -> list[list[int]]:
    """Ids of held-out prompts: of the test split, else of the validation split, else of the training split."""
    rows = next(rows for name in ("test", "val", "train") if (rows := records.read(folder / f"{name}.jsonl")))
    return [chat.prompt(talk, row["messages"][:-1]) for row in rows[:count]]


def difference(reference: LanguageModel, candidate: LanguageModel, sequences: list[list[int]]) -> float:
    """The largest difference of a logit over whole sequences."""
    return worst(apart(whole(reference, ids), whole(candidate, ids)) for ids in sequences)


def require_equal(reference: LanguageModel, candidate: LanguageModel, asked: list[list[int]], tolerance: float) -> None:
    """ValueError unless merged and adapter give the same logits on the prompts, up to `tolerance`."""
    off = difference(reference, candidate, asked)
    if not off <= tolerance:
        raise ValueError(
            f"merged: its logits differ from the adapter's by {off:.2g}, merge.tolerance allows {tolerance:g}; "
            "an adapter on a tied head or on quantised weights cannot be folded in"
        )
    log.info("merged is the adapter on its base: logits differ by %.1e at most on %d prompts", off, len(asked))


def require(variants: dict[str, Variant], proofs: dict[str, Parity]) -> None:
    """ValueError naming every variant that is not the merged model, and by which bar."""
    for name, proof in proofs.items():
        log.info("%-5s %s", name, "  ".join(f"{kind} {value:g}" for kind, value in proof.facts().items()))
    if broken := [sentence for name, proof in proofs.items() for sentence in failures(name, variants[name], proof)]:
        raise ValueError("; ".join(broken))


def compare(reference: LanguageModel, candidate: LanguageModel, asked: list[list[int]], steps: int) -> Parity:
    """Both models on the prompts and on `steps` greedy tokens of the reference after each."""
    said = decoding.greedy(reference, asked, steps, frozenset())
    sequences = [[*prompt, *reply] for prompt, reply in zip(asked, said, strict=True)]
    right = [whole(reference, ids) for ids in sequences]
    got = [whole(candidate, ids) for ids in sequences]
    tails = [logits[-steps - 1 : -1] for logits in right]  # those after the prompt, one for each reply token
    single = [taught(candidate, [prompt], [reply])[0] for prompt, reply in zip(asked, said, strict=True)]
    together = taught(candidate, asked, said)
    alone = [decoding.greedy(candidate, [prompt], steps, frozenset())[0] for prompt in asked]
    batch = decoding.greedy(candidate, asked, steps, frozenset())
    return Parity(
        uncached=worst(map(apart, right, got)),
        cached=worst(map(apart, tails, single)),
        padded=worst(map(apart, tails, together)),
        top1=min(agreement(right, got), agreement(tails, single), agreement(tails, together)),
        greedy=float(np.mean(np.array([said, said]) == np.array([alone, batch]))),
    )


def whole(lm: LanguageModel, ids: list[int]) -> Logits:
    """Logits [tokens, vocabulary] of one sequence, without a cache."""
    row = np.array([ids], dtype=np.int64)
    logits, _ = lm.forward(row, np.ones_like(row), None)
    return np.asarray(logits[0])


def taught(lm: LanguageModel, asked: list[list[int]], said: list[list[int]]) -> list[Logits]:
    """Logits [steps, vocabulary] for each row of a batch that is fed given replies of equal length, token by token."""
    ids, mask = decoding.padded(asked)
    steps, cache = [], None
    for step in range(len(said[0])):
        logits, cache = lm.forward(ids, mask, cache)
        steps.append(logits[:, -1])
        ids = np.array([[reply[step]] for reply in said], dtype=np.int64)
        mask = decoding.longer(mask)
    return list(np.stack(steps, axis=1))


def apart(a: Logits, b: Logits) -> float:
    return float(np.abs(a - b).max())


def worst(differences: Iterable[float]) -> float:
    """The largest, or nan if one is: Python's max would lose it."""
    return float(np.max(list(differences)))


def agreement(right: list[Logits], got: list[Logits]) -> float:
    return float(np.mean(np.concatenate(right).argmax(-1) == np.concatenate(got).argmax(-1)))


def failures(name: str, variant: Variant, proof: Parity) -> list[str]:
    """A sentence for each bar that the variant does not reach."""
    bars = f"export.variants.{name}"
    result = []
    for kind in ("uncached", "cached", "padded"):
        value, most = getattr(proof, kind), variant.max_logit_difference
        most = inf if most is None else most  # nan is refused in any case
        if not value <= most:
            result.append(f"{name}: its {kind} logits differ from the merged model's by {value:.2g}, "
                          f"{bars}.max_logit_difference allows {most:g}")  # fmt: skip
    for kind, least in (("top1", variant.min_top1), ("greedy", variant.min_greedy)):
        if not getattr(proof, kind) >= least:
            result.append(f"{name}: {getattr(proof, kind):.1%} of its {kind} tokens are the merged model's, "
                          f"{bars}.min_{kind} wants {least:.1%}")  # fmt: skip
    return result
