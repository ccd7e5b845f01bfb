"""Who may ask where there are keys; what is open all the same."""

import hashlib
import logging

import pytest

from refrain.serving.api_keys import read_keys
from refrain.serving.settings.schema import ServeSettings

KEY, FIRST, SECOND = "sk-of-the-settings", "sk-of-a-file", "sk-ключ"
HASHED = f"sha256:{hashlib.sha256(SECOND.encode()).hexdigest()}"


def bearer(key, scheme="Bearer"):
    return {"Authorization": f"{scheme} {key}".encode()}


@pytest.fixture(scope="module")
def server_with_keys(serve, tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# who may ask\n\n{FIRST}  Ada of the lab # since May\n{HASHED}\n")
    return serve(api_key=KEY, keys=str(file))


@pytest.mark.parametrize("headers", [bearer(KEY), bearer(FIRST), bearer(SECOND, "bearer"), bearer(f" {KEY}")])
def test_each_key_is_let_in(server_with_keys, headers):
    assert server_with_keys.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, bearer("sk-wrong"), bearer(KEY, "Basic"), bearer(HASHED), {"Authorization": KEY}]
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/nothing", "/v1/chat/completions"])
def test_without_a_key_nothing_is_told(server_with_keys, headers, path, caplog):
    caplog.set_level(logging.DEBUG)
    answer = server_with_keys.get(path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not [key for key in (KEY, FIRST, SECOND, "sk-wrong") if key in answer.text + caplog.text]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health", "/"])
def test_probes_and_the_page_are_open(server_with_keys, path):
    assert server_with_keys.get(path).status_code != 401


def test_metrics_are_open_where_that_is_set(serve):
    assert serve(api_key=KEY, metrics_open=True).get("/metrics").status_code != 401


def test_with_a_key_any_host_is_answered_for_a_stranger_has_none(server_with_keys):
    assert server_with_keys.get("/v1/models", headers={"Host": "chat.example"} | bearer(KEY)).status_code == 200


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"sha256:abc", "keys:1: after sha256: there must be 64 hexadecimal digits"),
        (b"# none", "keys: it has no keys"),
        (b"abc\xff", "keys: it is not UTF-8"),
    ],
)
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path, line, told):
    (tmp_path / "keys").write_bytes(line)
    with pytest.raises(ValueError, match=told) as error:
        read_keys(ServeSettings(keys=str(tmp_path / "keys")))
    assert "abc" not in str(error.value)
    with pytest.raises(ValueError, match="api_key: the key is empty"):
        read_keys(ServeSettings(api_key=" "))
