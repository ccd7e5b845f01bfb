"""GET /v1/models: each variant is a model."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.chat import model_folder
from refrain.serving.errors import ApiError


async def list_models(request: Request) -> JSONResponse:
    """The models that requests may name, the default first."""
    server = request.app.state.server
    return JSONResponse({"object": "list", "data": [describe(server, name) for name in server.models.names()]})


async def find_model(request: Request) -> JSONResponse:
    """One of them; names may hold a slash."""
    server, name = request.app.state.server, request.path_params["model"]
    if name not in server.models.folders:
        raise ApiError(404, "model_not_found", f"model: there is no {name[:100]!a}; name one of "
                       f"{', '.join(server.models.names())}", "model")  # fmt: skip
    return JSONResponse(describe(server, name))


def describe(server: Any, name: str) -> dict[str, Any]:
    """A model as OpenAI describes it, with the tokens that it sees, as vLLM does."""
    folder = server.models.folders[name]
    return {
        "id": name,
        "object": "model",
        "created": int(folder.stat().st_mtime) if folder.is_dir() else 0,
        "owned_by": "refrain",
        "root": server.models.names()[0],
        "parent": None,
        "max_model_len": find_context(server, name),
    }


def find_context(server: Any, name: str) -> int | None:
    """Tokens that a model sees: of an open one what it has room for, else what its config says."""
    folder = server.models.folders[name]
    opened = {model.folder: model.backend.context for model in server.models.open_models()}
    if folder in opened:
        return int(opened[folder])
    try:
        return model_folder.read_context_length(folder)
    except (OSError, ValueError):  # a damaged folder is a matter of who asks for it
        return None


ROUTES = [Route("/v1/models", list_models), Route("/v1/models/{model:path}", find_model)]
