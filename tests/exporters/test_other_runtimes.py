"""Every block of code in docs/formats.md answers as refrain.load does: the artifact is the same in other runtimes."""

import importlib.util
import re
import shutil
import subprocess

import presets
import pytest
import torch
from places import ROOT
from transformers import LlamaConfig, LlamaForCausalLM

import refrain
from refrain.chat import encoding, model_folder
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import loading
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.training import fit
from refrain.training.objectives import sft

PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
TYPED = "What is an aquifer?"  # on the page
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTIONS = ["hello 🙂\n\n\n, the user?", "and the assistant?", "não, there?"]
REPLIES = ["hello 🙂\n\n\n\n there!", "the user and the assistant é", "hello 🙂 hello the user, não"]
NODE_MODULES = ROOT / "node_modules/@huggingface/transformers"


@pytest.fixture(scope="module")
def repository(saved, tokenizer, tmp_path_factory):
    """models/merged and models/onnx of a small model that has learned its replies, and where they end, by heart."""
    names = {"bos_token": "<|bos|>", "eos_token": "<|im_end|>", "model_input_names": ["input_ids", "attention_mask"]}
    base, root = saved(tokenizer, **names, chat_template=TEMPLATE), tmp_path_factory.mktemp("repository")
    torch.manual_seed(0)
    shape = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=128,
                        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, initializer_range=0.1,
                        max_position_embeddings=256, tie_word_embeddings=True)  # fmt: skip
    model, talk = LlamaForCausalLM(shape), encoding.load_tokenizer(base)
    rows = [
        {"id": question, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]}
        for question, reply in zip(QUESTIONS, REPLIES, strict=True)
    ]
    recipe = presets.train(lr=0.01, epochs=40, batch_size=3, warmup=0)
    fit.train_model(model, sft.encode_rows(talk, rows)[0], [], sft, recipe, 7, tmp_path_factory.mktemp("checkpoints"))
    loading.save_for_serving(model, talk.stop_ids, root / "models/merged")
    model_folder.copy_tokenizer(base, root / "models/merged", talk.template)
    for graph in ("compact", "optimum"):
        # either kind of 8 bits, each in a graph of its own
        int8 = {"compact": QuantizationConfig(8, activations="token"), "optimum": QuantizationConfig(8, 32)}[graph]
        for name, weights in (("fp32", QuantizationConfig(32)), ("int8", int8)):
            exporter.export_variant(root / "models/merged", root / graph / name, weights, graph, 18)
    return root


@pytest.fixture(params=["compact fp32", "compact int8", "optimum fp32", "optimum int8"])
def best(request, repository, monkeypatch):
    """models/onnx/best is one of the variants, and the repository is where code runs."""
    shutil.rmtree(repository / "models/onnx", ignore_errors=True)
    variant = repository.joinpath(*request.param.split())
    shutil.copytree(variant, repository / "models/onnx/best")
    monkeypatch.chdir(repository)
    return variant


def block(heading: str, language: str, question: str) -> str:
    """The code below a heading of the page, with another question."""
    code = re.search(rf"^## {heading}\n.*?^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert code is not None and TYPED in code[1]
    return code[1].replace(TYPED, question.replace("\n", "\\n"))


def run_python(heading: str, question: str) -> list[str]:
    """What the code prints; each reply is one text, whatever lines it has."""
    printed: list[str] = []
    exec(block(heading, "python", question), {"print": printed.append})
    return printed


def answer(folder, question):
    with refrain.load(folder) as model:
        return model.chat(question, max_tokens=64, temperature=0).text


def test_it_has_learned_its_replies_and_where_they_end(best):
    assert [answer(best, question) for question in QUESTIONS] == REPLIES


@pytest.mark.parametrize("best", ["compact fp32"], indirect=True)
@pytest.mark.parametrize("question", QUESTIONS)
def test_transformers_answers_the_same(question, best):
    assert run_python("transformers", question) == [answer(best, question)] * 2


@pytest.mark.parametrize("question", QUESTIONS)
def test_optimum_answers_the_same(question, best):
    assert run_python("optimum", question) == [answer(best, question)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_genai_answers_the_same(question, best):
    assert run_python("onnxruntime-genai", question) == [answer(best, question)]


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.parametrize("question", QUESTIONS)
def test_openvino_answers_the_same(question, best):
    assert run_python("OpenVINO", question) == [answer(best, question)]


@pytest.mark.skipif(not NODE_MODULES.is_dir() or not shutil.which("node"),
                    reason="node or @huggingface/transformers is not installed here")  # fmt: skip
@pytest.mark.parametrize("question", QUESTIONS)
def test_transformers_js_answers_the_same(question, best, repository):
    if not (repository / "node_modules").exists():
        (repository / "node_modules").symlink_to(NODE_MODULES.parents[1])
    (repository / "ask.mjs").write_text(block("transformers.js", "js", question), encoding="utf-8")
    done = subprocess.run(["node", "ask.mjs"], capture_output=True, text=True, check=True, cwd=repository)
    assert done.stdout == answer(best, question) + "\n"
