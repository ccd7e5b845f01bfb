"""The application as a whole: real sockets, a real model."""

import subprocess
import sys


def test_a_question_is_answered(server):
    answer = server.chat(seed=1).json()
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["system_fingerprint"] and answer["model"] == "refrain"


def test_what_reads_and_splits_rows_is_not_loaded_to_open_a_server():
    listed = "import sys, refrain.serving.server; print(*(name for name in sys.modules if name.startswith('refrain.')))"
    loaded = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True).stdout.split()
    late = ("refrain.data.cleaning", "refrain.data.splitting", "refrain.data.shapes.parsing", "refrain.pipeline.schema")
    assert "refrain.serving.server" in loaded and not [name for name in loaded if name.startswith(late)]
