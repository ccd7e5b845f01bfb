"""What every answer says of itself beside its text: what made it, what it cost, how to have it again."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.lineage.answer_log import Answer, AnswerLog
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests.plan import Plan

FINGERPRINT = 16  # digits of the seal


def answer_head(prefix: str, kind: str, model: ServedModel) -> dict[str, Any]:
    """The fields that an answer begins with, and each chunk of its stream."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.seal[:FINGERPRINT],
    }


PROMPTS = ("messages", "prompt", "input", "instructions")  # fields that the prompt is made of, which is kept as ids


@dataclass(frozen=True)
class AnswerRecorder:
    """Remembers what was said to one request, and what decides it."""

    answers: AnswerLog
    asked: dict[str, Any]
    owner: str

    def record(self, plan: Plan, answer_id: str, created: int, pieces: Sequence[Piece]) -> None:
        """Keep the replies of all choices."""
        asked = {name: value for name, value in self.asked.items() if name not in PROMPTS}
        texts, reasons = [piece.text for piece in pieces], [piece.finish_reason for piece in pieces]
        made = plan.model.name, plan.model.seal, plan.requests, texts, reasons, asked
        self.answers.add(Answer(answer_id, created, *made, owner=self.owner, question=find_question(self.asked)))


def find_question(asked: dict[str, Any]) -> str:
    """What a user said last in a request, as text; empty where nobody did."""
    said = next((asked[name] for name in PROMPTS if asked.get(name)), "")
    turns = said if isinstance(said, list) else [said]
    for turn in reversed(turns):
        content = turn if isinstance(turn, str) else None
        if isinstance(turn, dict) and turn.get("role") == "user":
            content = turn.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(part for part in parts if isinstance(part, str))
        if isinstance(content, str):
            return content
    return ""


def usage(plan: Plan, generations: Sequence[Generation], num_completion_tokens: int) -> dict[str, Any]:
    """Tokens: a prompt counts once, whatever the number of its choices."""
    return {
        "prompt_tokens": plan.num_prompt_tokens,
        "completion_tokens": num_completion_tokens,
        "total_tokens": plan.num_prompt_tokens + num_completion_tokens,
        "prompt_tokens_details": {"cached_tokens": count_cached_tokens(plan, generations)},
    }


def count_cached_tokens(plan: Plan, generations: Sequence[Generation]) -> int:
    """Of the prompts: those that were in memory when their first choices began."""
    return sum(generation.num_cached_tokens for generation in generations[:: plan.output.num_choices])


def refrain_facts(plan: Plan, generations: Sequence[Generation], finish_reasons: Sequence[str]) -> dict[str, Any]:
    """All that decides the answer, and how it came about."""
    model, first = plan.model, plan.requests[0]
    facts = {
        "seal": model.seal,
        "variant": model.variant,
        "commit": model.commit,
        "seed": first.sampling.seed,
        "max_tokens": first.max_new_tokens,
        "cached_tokens": count_cached_tokens(plan, generations),
        "cache": cache_state(generations),
    }
    if plan.num_left_out:
        facts["truncated_messages"] = plan.num_left_out
    return facts | ({"reason": "timeout"} if "timeout" in finish_reasons else {})


def cache_state(generations: Sequence[Generation]) -> str:
    """hit where every choice was kept, off where none may be kept."""
    states = {generation.cache for generation in generations}
    return states.pop() if len(states) == 1 else "miss"


def public_reason(finish_reason: str | None) -> str | None:
    """Why a reply has ended, in OpenAI's words."""
    return "length" if finish_reason == "timeout" else finish_reason
