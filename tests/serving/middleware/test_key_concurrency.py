"""How much one key may ask for at once."""

import pytest
from raw_http import POST, connect

from refrain.serving.settings.schema import LimitSettings

BODY = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def shared(serve, tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("one\ntwo\n")
    return serve(keys=str(file), limits=LimitSettings(requests_per_key=1))


def test_a_key_that_is_busy_is_refused_and_another_is_not(shared):
    one, two = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))

    def ask(headers):
        return shared.post("/v1/chat/completions", BODY, headers=headers)

    with connect(shared) as client:
        client.sendall(POST + b"Authorization: Bearer one\r\nContent-Length: 100\r\n\r\n")  # and no body
        while (refused := ask(one)).status_code == 200:
            pass  # until the server has seen the other one
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "key_busy")
        assert refused.headers["retry-after"] == "1"
        assert ask(two).status_code == shared.get("/v1/models", headers=one).status_code == 200
    while (again := ask(one)).status_code == 429:
        pass  # until it has seen that the other one has left
    assert again.status_code == 200
