"""What a client is told when it gets no answer: one shape for every route, OpenAI's."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

SECONDS_OF_A_RESTART = 5.0  # after which it is worth trying again
ROUTES_OF_OTHERS = {  # of OpenAI's API: what no model of this kind does
    "/v1/embeddings": "it makes no embeddings",
    "/v1/images": "it draws no images",
    "/v1/audio": "it neither hears nor speaks",
    "/v1/moderations": "it moderates nothing",
    "/v1/files": "it keeps no files",
    "/v1/fine_tuning": "models are fine-tuned by the pipeline, with `dvc repro`",
    "/v1/batches": "it takes no batches; send requests at once",
    "/v1/assistants": "it has no assistants; use /v1/responses",
    "/v1/threads": "it has no threads; use /v1/responses",
}


class ApiError(Exception):
    """A request that is refused, or a reply that failed: the status, OpenAI's type and code, and one sentence."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_after = status, code, message, param, retry_after

    def body(self) -> dict[str, Any]:
        """The JSON that is sent: `{"error": {message, type, param, code}}`."""
        return {
            "error": {"message": self.message, "type": error_type(self.status), "param": self.param, "code": self.code}
        }

    def headers(self) -> dict[str, str]:
        """`Retry-After`, in whole seconds, where waiting helps; `WWW-Authenticate` where a key does."""
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def error_type(status: int) -> str:
    """OpenAI's name for the kind of error."""
    by_status = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    return by_status.get(status, "invalid_request_error" if status < 500 else "server_error")


def invalid_value(param: str, message: str) -> ApiError:
    """A value without a meaning: 400."""
    return ApiError(400, "invalid_value", message, param)


async def answer_error(_: Request, error: Exception) -> Response:
    """The one shape of every error."""
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, error.headers())


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses: a route, a method, a body that is too large."""
    assert isinstance(error, HTTPException)
    described = describe_http_error(error, request.method, request.url.path)
    return JSONResponse(described.body(), error.status_code, {**(error.headers or {}), **described.headers()})


def describe_http_error(error: HTTPException, method: str, path: str) -> ApiError:
    """The code and the sentence for what Starlette refuses."""
    match error.status_code:
        case 404:
            others = (why for beginning, why in ROUTES_OF_OTHERS.items() if path.startswith(beginning))
            why = next(others, "there is no such route; /openapi.json lists them")
            return ApiError(404, "no_route", f"{method} {path}: this server serves a model that writes text; {why}")
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            return ApiError(405, "method_not_allowed", f"{method} {path}: this route takes no {method}; use {allowed}")
        case 413:
            return ApiError(413, "body_too_large", "the body: it is longer than the server reads; send less")
    return ApiError(error.status_code, "invalid_request", f"{method} {path}: {error.detail}")


EXCEPTION_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    ApiError: answer_error,
    HTTPException: answer_http_error,
}
