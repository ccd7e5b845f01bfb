"""llama.cpp ends in a process of its own, and with it nothing but a sentence."""

import os
import signal

import gguf_models
import pytest

from refrain.exporters.gguf import llama_client, llama_server, writer

pytestmark = pytest.mark.heavy


@pytest.fixture
def file(tmp_path):
    gguf_models.make_folder(tmp_path, gguf_models.CONFIGS["llama"])
    writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
    return tmp_path / "model.gguf"


def test_what_is_no_model_is_told_with_llama_cpps_reason(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF and no more")
    with (
        pytest.raises(ValueError, match=r"^model.gguf: llama.cpp does not open it: .*"),
        llama_server.run_server(tmp_path / "model.gguf"),
    ):
        pass


def test_a_server_that_is_killed_or_that_refuses_is_told_from_one_that_answers(file, monkeypatch):
    started = []
    popen = llama_server.subprocess.Popen
    monkeypatch.setattr(llama_server.subprocess, "Popen", lambda *a, **b: started.append(popen(*a, **b)) or started[-1])
    options = ("--slots", "1", "--threads", "1", "--context", "32")
    refused = pytest.raises(ValueError, match=r"^model.gguf: llama.cpp answers: HTTP Error 400")
    with refused, llama_server.run_server(file, *options) as url:
        llama_client.log_probabilities(url, [1] * 64, 272, 3)
    killed = pytest.raises(ValueError, match=r"^model.gguf: llama.cpp ended while it was asked")
    with killed, llama_server.run_server(file, *options) as url:
        os.kill(started[-1].pid, signal.SIGKILL)
        started[-1].wait()
        llama_client.tokenize(url, "a")
    assert all(each.poll() is not None for each in started)
