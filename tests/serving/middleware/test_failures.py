"""Every answer has the headers of all answers, and every fault the shape of all errors."""

import json
import logging

import pytest

from refrain.serving.middleware.response_headers import HEADERS


@pytest.fixture(scope="module")
def broken(serve):
    """A server one of whose parts is not there any more."""
    running = serve()
    running.server.models.names = None
    return running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("GET", "/v1/models", 500), ("GET", "/none", 404), ("PUT", "/v1/models", 405)],
)
def test_every_answer_has_a_name_and_is_safe_in_a_browser(broken, method, path, status):
    answer = broken.client.request(method, path)
    assert answer.status_code == status
    assert HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
    assert answer.headers["x-request-id"] and "server" not in answer.headers


def test_a_fault_of_the_server_is_told_without_its_insides_and_logged_with_them(broken, caplog):
    caplog.set_level(logging.ERROR)
    answer = broken.get("/v1/models", headers={"X-Request-Id": "find-me"})
    assert answer.json()["error"]["code"] == "internal_error" and "NoneType" not in answer.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "GET /v1/models has failed"
    json.loads(answer.text)


def test_the_next_request_is_answered_all_the_same(broken):
    assert broken.chat().status_code == 200
