"""What a client is told when it gets no answer: one shape for every route, OpenAI's."""

from typing import Any

SECONDS_OF_A_RESTART = 5.0  # after which it is worth trying again


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
