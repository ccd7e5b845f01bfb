"""`refrain replay` before a real server, before none, and before something else."""

import http.server
import threading

import pytest
import served_model

from refrain.cli import main
from refrain.serving.settings.schema import ServeSettings


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory):
    folder = served_model.build(tmp_path_factory.mktemp("served"))
    with served_model.run_server(ServeSettings(model=str(folder), port=0, threads=1, api_key="secret")) as running:
        running.client.headers["Authorization"] = "Bearer secret"
        yield running


@pytest.fixture
def other():
    """A server of something else."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_answer_is_equal_or_shown_where_it_differs(keyed_server, monkeypatch, capsys):
    monkeypatch.setenv("REFRAIN_SERVE_API_KEY", "secret")
    answer = keyed_server.chat(seed=1).json()
    assert main.main(["replay", answer["id"], "--url", f"{keyed_server.url}/"]) == 0
    assert capsys.readouterr().out.startswith(f"{answer['id']}: equal, made again by refrain, ")
    kept = keyed_server.server.answers.find(answer["id"], "api_key")
    kept.texts[0] = "#" + kept.texts[0]
    assert main.main(["replay", answer["id"], "--url", keyed_server.url]) == 1
    assert "choice 0 differs from character 0 on: '#" in capsys.readouterr().out


def test_who_refuses_says_why(keyed_server, other, monkeypatch, capsys):
    monkeypatch.delenv("REFRAIN_SERVE_API_KEY", raising=False)
    for url, sentence in [
        (keyed_server.url, "Authorization: it must be"),
        (other, "501"),
        ("http://127.0.0.1:1", "no server of Refrain answers there"),
        ("nonsense", "no server of Refrain answers there (unknown url type"),
    ]:
        assert main.main(["replay", "a/../b c\u00e9", "--url", url]) == 1
        assert sentence in capsys.readouterr().err
    monkeypatch.setenv("REFRAIN_SERVE_API_KEY", "secret")
    assert main.main(["replay", "none", "--url", keyed_server.url]) == 1
    assert "no answer of that id is known" in capsys.readouterr().err
