"""POST /v1/refrain/feedback: a better answer, a pair or a vote becomes a row to learn from."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.pipeline import paths
from refrain.serving.api.body import read_body
from refrain.serving.api.own_fields import FeedbackFields
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.lineage import feedback
from refrain.serving.settings.schema import ServeSettings
from refrain.serving.trust import require_trusted


async def add(request: Request) -> JSONResponse:
    """Append one row to the file that the next training reads, and say which."""
    require_trusted(request, "feedback")
    fields = (await read_body(request, [FeedbackFields], is_lenient=False)).convert(FeedbackFields)
    file = find_file(request.app.state.server.settings)
    row = make_row(fields)
    file = feedback.pairs_file(file) if "chosen" in row else file
    param = "prompt" if "chosen" in row else "messages"
    try:
        row = await asyncio.to_thread(feedback.check_row, row, file)
    except ValueError as error:
        raise invalid_value(param, f"{param}: {str(error).removeprefix(f'{file}: ')}") from error
    try:
        await asyncio.to_thread(feedback.append_row, file, row)
    except OSError as error:
        raise ApiError(507, "not_stored", f"{file}: the row was not stored ({error.strerror}), and the file is as it "
                       "was; make room, or name another file in the setting feedback") from error  # fmt: skip
    except ValueError as error:
        raise ApiError(409, "not_stored", str(error)) from error
    return JSONResponse({"object": "refrain.feedback", "id": row["id"], "file": str(file)})


def make_row(fields: FeedbackFields) -> dict[str, Any]:
    """A row of one of the two forms, with an id."""
    row_id = f"feedback-{secrets.token_hex(8)}"
    pair = {name: getattr(fields, name) for name in ("prompt", "chosen", "rejected")}
    if fields.messages is not None and any(part is not None for part in pair.values()):
        raise invalid_value("messages", "messages: a row is a conversation or a pair; give messages, or prompt, chosen "
                            "and rejected")  # fmt: skip
    if fields.messages is not None:
        optional = {"label": fields.label, "tools": fields.tools or None}
        given = {name: value for name, value in optional.items() if value is not None}
        return {"id": row_id, "messages": fields.messages, **given}
    for name, value in pair.items():
        if value is None:
            raise invalid_value(name, f"{name}: it is missing; give messages, or prompt, chosen and rejected")
    for name in ("label", "tools"):
        if getattr(fields, name) is not None:
            raise invalid_value(name, f"{name}: a pair has none; leave it out, or give messages")
    return {"id": row_id, **pair}


def find_file(settings: ServeSettings) -> Path:
    """Where rows go; ApiError 404 outside of a repository, unless a file is named."""
    if settings.feedback is not None:
        return Path(settings.feedback)
    if not (Path("dvc.yaml").is_file() and paths.CONF.is_dir()):
        raise ApiError(404, "no_feedback_file", "feedback: no repository of Refrain is here to learn from it; start in "
                       "one, or name a file in the setting feedback")  # fmt: skip
    return feedback.FILE


ROUTES = [Route("/v1/refrain/feedback", add, methods=["POST"])]
