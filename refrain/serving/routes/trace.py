"""GET /v1/refrain/trace/{answer id}: what an answer comes from, as `refrain trace` has it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.serving.disconnect import run_while_connected
from refrain.serving.errors import ApiError
from refrain.serving.lineage import answer_trace
from refrain.serving.lineage.answer_log import Answer
from refrain.serving.models import artifact
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.routes.lineage import find_answer
from refrain.serving.routes.sessions import read_count
from refrain.serving.trust import require_trusted

MOST_ROWS = 50


async def trace(request: Request) -> JSONResponse:
    """The artifact, the rows nearest to the question in words and, where asked for, those of most influence."""
    require_trusted(request, "trace")
    server, answer = request.app.state.server, find_answer(request)
    num_rows = read_count(request, "rows", 5, 1, MOST_ROWS)
    num_influential = read_count(request, "influence", 0, 0, MOST_ROWS)
    model = await server.models.find(answer.model)
    if model.seal != answer.seal:
        raise ApiError(409, "other_artifact", f"{answer.id}: it was made by {answer.seal[:16]}, and {answer.model} is "
                       f"{model.seal[:16]} now; serve that artifact to trace it")  # fmt: skip
    words = await run_while_connected(request, search_words(server, answer, model, num_rows))
    influence = None
    if num_influential:
        prompt_ids = answer.requests[0].prompt_ids
        work = server.influence.run(model.folder, prompt_ids, answer.texts[0], num_influential)
        influence = await run_while_connected(request, work)
    facts = await server.lineage.describe(model)
    head = {"id": answer.id, "object": "refrain.trace", "created": answer.created}
    said = {"question": answer.question, "answer": answer.texts[0], "artifact": facts}
    return JSONResponse({**head, **said, "words": words, "influence": influence})


async def search_words(server: Any, answer: Answer, model: ServedModel, limit: int) -> dict[str, Any]:
    """As `answer_trace.trace_words`, with the index of the server."""
    try:
        learned = artifact.read_facts(model.folder)[0].get("data")
        found: dict[str, Any] = await server.training.search(answer.question, limit, learned)
    except FileNotFoundError:
        return {"problem": answer_trace.explain_absence()}
    except (OSError, ValueError) as error:
        return {"problem": str(error)}
    return found


ROUTES = [Route("/v1/refrain/trace/{answer_id}", trace)]
