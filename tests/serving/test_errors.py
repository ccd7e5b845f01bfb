"""Whatever is refused, and wherever, has one shape."""

import pytest
from starlette.routing import Route

from refrain.serving.errors import ApiError

KEYS = {"message", "type", "param", "code"}
OTHERS = ("embeddings", "images/generations", "audio/speech", "moderations", "files", "fine_tuning/jobs", "batches")


def test_every_route_refuses_another_method_in_the_one_shape(server):
    for route in [route for route in server.app.routes if isinstance(route, Route)]:
        path = route.path.replace("{model:path}", "refrain").replace("{", "").replace("}", "")
        answer = server.client.request("PATCH", path)
        assert answer.status_code == 405 and answer.headers["Allow"], path
        assert answer.json()["error"].keys() == KEYS and answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/chat", "/v1/chat/completions/", *(f"/v1/{each}" for each in OTHERS)]
)
def test_what_there_is_not_is_not_found_and_no_fault_of_the_server(server, path):
    for answer in (server.get(path), server.post(path, {})):
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "no_route"
        assert answer.json()["error"].keys() == KEYS and path in answer.json()["error"]["message"]


def test_a_failure_of_the_server_has_the_shape_too(serve, caplog):
    broken = serve()
    broken.app.state.server.models.folders = None
    answer = broken.get("/v1/models/refrain")
    assert answer.status_code == 500
    assert answer.json()["error"] | {"message": ""} == {
        "message": "", "type": "server_error", "param": None, "code": "internal_error",
    }  # fmt: skip


@pytest.mark.parametrize(("status", "kind"), [
    (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"), (404, "not_found_error"),
    (413, "invalid_request_error"), (429, "rate_limit_error"), (503, "server_error"),
])  # fmt: skip
def test_types_are_openais(status, kind):
    error = ApiError(status, "code", "a sentence", "field", retry_after=0.2)
    assert error.body() == {"error": {"message": "a sentence", "type": kind, "param": "field", "code": "code"}}
    assert error.headers()["Retry-After"] == "1" and ("WWW-Authenticate" in error.headers()) == (status == 401)
