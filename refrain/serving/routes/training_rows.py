"""POST /v1/refrain/training-rows: was this learned, and what is most like it."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.pipeline import paths
from refrain.serving.api.body import read_body
from refrain.serving.api.own_fields import TrainingRowsFields
from refrain.serving.disconnect import run_while_connected
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.models import artifact
from refrain.serving.trust import require_trusted

MOST_ROWS, LONGEST_TEXT = 50, 100_000


async def search(request: Request) -> JSONResponse:
    """Which split asks this, and the nearest rows; 404 where no prepared rows are here."""
    server = request.app.state.server
    require_trusted(request, "training rows")
    fields = (await read_body(request, [TrainingRowsFields], is_lenient=False)).convert(TrainingRowsFields)
    limit = 5 if fields.limit is None else fields.limit
    if not 1 <= limit <= MOST_ROWS:
        raise invalid_value("limit", f"limit: {limit} is out of range; give 1 to {MOST_ROWS}")
    if len(fields.text) > LONGEST_TEXT:
        raise invalid_value("text", f"text: it has more than {LONGEST_TEXT} characters; give the question alone")
    folder = server.models.folders.get(fields.model or server.settings.served_model_name)
    if folder is None:
        folder = (await server.models.find(fields.model)).folder  # says which names there are
    learned = artifact.read_facts(folder)[0].get("data")
    try:
        work = server.training.search(fields.text, limit, learned)
        return JSONResponse(await run_while_connected(request, work))
    except FileNotFoundError as error:
        raise ApiError(404, "no_training_rows", f"{paths.PREPARED}: there are no prepared rows here; start the server "
                       f"in the repository, `dvc pull {paths.PREPARED}` fetches them") from error  # fmt: skip
    except (OSError, ValueError) as error:
        raise ApiError(409, "training_rows_damaged", str(error)) from error


ROUTES = [Route("/v1/refrain/training-rows", search, methods=["POST"])]
