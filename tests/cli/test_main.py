import subprocess
import sys

from places import ROOT


def loaded(code):
    """The modules that are there after some code has run in a fresh interpreter."""
    code += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


HEAVY = {"numpy", "onnxruntime", "tokenizers", "jinja2", "llguidance", "onnx", "matplotlib", "dvc", "torch"}


def test_help_waits_for_nothing_heavy():
    modules = loaded("from refrain.cli import main; main.build_parser().format_help()")
    assert "refrain.cli.main" in modules and not HEAVY & set(modules)


def test_talking_needs_neither_torch_nor_transformers():
    modules = loaded(
        "from refrain.cli import generate, main, terminal; from refrain.generation import grammar;"
        "from refrain.pipeline import manifest; from refrain.runtime import loading"
    )
    assert "refrain.cli.terminal" in modules and not {"torch", "transformers", "optimum", "onnx"} & set(modules)
