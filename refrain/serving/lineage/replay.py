"""An answer made again from what made it, and compared with what was said."""

from typing import Any

from refrain.serving.errors import ApiError
from refrain.serving.lineage.answer_log import Answer
from refrain.serving.models.model_pool import ServedModel

AROUND = 40  # characters that are shown from where two texts differ
CUT = ("timeout", "cancelled")  # reasons to end that do not come again: what was said is the beginning


def require_same_model(answer: Answer, model: ServedModel) -> None:
    """ApiError 409 where another artifact is served under the name now."""
    if model.seal != answer.seal:
        raise ApiError(
            409, "other_artifact",
            f"{answer.id}: it was made by {answer.seal[:16]}, and {answer.model} is {model.seal[:16]} now; serve that "
            "artifact to make it again",
        )  # fmt: skip


def compare_answers(answer: Answer, texts: list[str]) -> dict[str, Any]:
    """Whether all choices came out equal, and else where the first one differs."""
    reasons = answer.finish_reasons or [None] * len(texts)
    choices = [
        {"index": nth, **compare_texts(before, now, reason in CUT)}
        for nth, (before, now, reason) in enumerate(zip(answer.texts, texts, reasons, strict=True))
    ]
    differing = [choice for choice in choices if not choice["equal"]]
    reason = f"choice {differing[0]['index']} differs from character {differing[0]['at']} on" if differing else None
    return {"id": answer.id, "equal": not differing, "reason": reason, "choices": choices}


def compare_texts(before: str, now: str, is_cut: bool) -> dict[str, Any]:
    """Equal, or the first character that differs and what follows on both sides."""
    if now == before or (is_cut and now.startswith(before)):
        return {"equal": True}
    pairs = zip(before, now, strict=False)
    at = next((nth for nth, (old, new) in enumerate(pairs) if old != new), min(len(before), len(now)))
    return {"equal": False, "at": at, "before": before[at : at + AROUND], "now": now[at : at + AROUND]}
