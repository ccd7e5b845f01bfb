"""A response as it is sent and kept."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from refrain.serving.api.response_fields import ResponseFields
from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.lineage import answer_facts
from refrain.serving.lineage.answer_facts import FINGERPRINT
from refrain.serving.requests.chat_plan import ChatPlan
from refrain.serving.responses.response_items import Item, make_id

Response = dict[str, Any]


def begin_response(fields: ResponseFields, chat: ChatPlan) -> Response:
    """One that has said nothing yet: what was asked, and what holds where nothing was."""
    model, sampling = chat.plan.model, chat.plan.output.sampling
    return {
        "id": make_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": fields.instructions,
        "max_output_tokens": fields.max_output_tokens,
        "max_tool_calls": None,
        "model": model.name,
        "output": [],
        "parallel_tool_calls": fields.parallel_tool_calls is not False,
        "previous_response_id": fields.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "store": fields.store is not False,
        "temperature": sampling.temperature,
        "text": {"format": write_format(fields), "verbosity": "medium"},
        "tool_choice": fields.tool_choice or "auto",
        "tools": fields.tools or [],
        "top_logprobs": fields.top_logprobs or 0,
        "top_p": sampling.top_p,
        "truncation": fields.truncation or "disabled",
        "usage": None,
        "user": None,
        "metadata": fields.metadata or {},
        "system_fingerprint": model.seal[:FINGERPRINT],
    }


def write_format(fields: ResponseFields) -> dict[str, Any]:
    """The form that the reply has."""
    if fields.text is None or fields.text.format is None:
        return {"type": "text"}
    given = msgspec.to_builtins(fields.text.format)
    return {name: value for name, value in given.items() if name == "type" or given["type"] == "json_schema"}


def end_response(
    response: Response, chat: ChatPlan, generations: Sequence[Generation], whole: Piece, output: list[Item]
) -> Response:
    """The same with what was said, why it ended, what it cost and what made it."""
    is_cut = whole.finish_reason in ("length", "timeout", "cancelled")
    usage = answer_facts.usage(chat.plan, generations, len(whole.ids))
    return {
        **response,
        "status": "incomplete" if is_cut else "completed",
        "completed_at": None if is_cut else int(time.time()),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": output,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": usage["prompt_tokens_details"],
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
        "refrain": answer_facts.refrain_facts(chat.plan, generations, [whole.finish_reason or ""]),
    }


def fail_response(response: Response, code: str, message: str) -> Response:
    """The same where the reply has failed."""
    return {**response, "status": "failed", "error": {"code": code, "message": message}}
