"""A GGUF file that is not the merged model, its tokens or its template is told from one that is."""

from dataclasses import replace

import gguf_models
import pytest
import traced_model

from refrain.chat import encoding
from refrain.exporters.architectures import llama_cpp
from refrain.exporters.gguf import proof, questions, tensors, vocabulary, writer
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.pipeline.export_schema import GgufConfig, GgufThresholds

STRICT = GgufThresholds(relative_logits=1e-3, kl=None, top1=1.0, texts=1.0, required=True)
ROWS = [
    {
        "id": f"0-said.jsonl:{i}",
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "ß 🎉"}],
    }
    for i, asked in enumerate(["hi 1234", "não?", "stop <|im_end|> now"])
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    gguf_models.make_folder(folder, gguf_models.CONFIGS["llama"])
    return folder


@pytest.fixture(scope="module")
def queries(folder):
    model = gguf_models.AutoModelForCausalLM.from_pretrained(folder)
    settings = GgufConfig(types=["f32"], prompts=8, steps=3)
    return questions.ask_merged(TorchLanguageModel(model), encoding.load_tokenizer(folder), ROWS, 64, settings)


def prove(folder, file, queries):
    writer.write_file(folder, file, "f32")
    return proof.prove_file(file, queries, llama_cpp.find_graph(folder), STRICT)


def test_what_is_asked_are_replies_edge_cases_and_odd_texts(queries):
    assert [len(each.lengths) for each in queries.sequences if each.is_heard] == [3, 3, 3]
    assert [each.shape for each in queries.logits] == [(len(each.lengths), 272) for each in queries.sequences]
    assert {len(each.ids) for each in queries.sequences} >= {1, 63}  # of one token, and as long as may be
    assert queries.typed == 1 and len(queries.prompts) == 2 + len(questions.ODD_TEXTS)


@pytest.mark.heavy
def test_a_right_file_passes(folder, queries, tmp_path):
    found = prove(folder, tmp_path / "model.gguf", queries)
    assert proof.judge_file("f32", STRICT, found) == proof.FileVerdict([], [])
    assert found.whole < 1e-4 and found.kl < 1e-9 and (found.texts, found.tokens, found.unrendered) == (1.0, 9, 0)


def without_permutation(monkeypatch):
    monkeypatch.setattr(tensors, "pair_neighbours", lambda linear, heads: linear)


def without_ends(monkeypatch):
    """Then llama.cpp takes id 11 for what begins and what ends a text."""
    monkeypatch.setattr(vocabulary, "describe_control_tokens", lambda writer, tokenizer, types: None)


def with_other_cuts(monkeypatch):
    monkeypatch.setattr(vocabulary.llama_cpp_tokenizers, "name_pre_tokenizer", lambda settings: "no such name")


def with_merges(monkeypatch):
    """Two letters that are one token there."""
    monkeypatch.setattr(vocabulary, "list_merges", lambda settings: [("h", "i")])
    list_tokens = vocabulary.list_tokens

    def rename(settings, rows):
        tokens, types = list_tokens(settings, rows)
        return [*tokens[:260], "hi", *tokens[261:]], types

    monkeypatch.setattr(vocabulary, "list_tokens", rename)


def with_another_template(monkeypatch):
    load, other = writer.load_tokenizer, traced_model.TEMPLATE.replace("\\n", " ").replace("\n", " ")
    monkeypatch.setattr(writer, "load_tokenizer", lambda folder: replace(load(folder), template=other))


FAULTS = {
    "no permutation": (without_permutation, "f32: its logits in llama.cpp differ from the merged model's by"),
    "no ends": (without_ends, "f32: llama.cpp ends a text with"),
    "a merge too many": (with_merges, "f32: llama.cpp reads "),
    "another template": (with_another_template, "f32: llama.cpp reads 100.0% of the texts otherwise"),
}


@pytest.mark.heavy
@pytest.mark.parametrize(("plant", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_fails_by_its_name(plant, sentence, folder, queries, tmp_path, monkeypatch):
    plant(monkeypatch)
    found = proof.judge_file("f32", STRICT, prove(folder, tmp_path / "model.gguf", queries))
    assert found.fails[0].startswith(sentence)


@pytest.mark.heavy
def test_a_file_that_llama_cpp_does_not_open_is_told_in_a_sentence(folder, queries, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "list_rope_factors", lambda decoder, layer: iter([("stray.weight", layer.qkv.weight)]))
    with pytest.raises(ValueError, match=r"^model.gguf: llama.cpp does not open it: .*wrong number of tensors"):
        prove(folder, tmp_path / "model.gguf", queries)


def test_thresholds_are_sentences_with_their_keys():
    measured = proof.FileProof(
        whole=0.5, mean=0.1, kl=0.1, top1=0.5, rounding=0.0, limit=1e-3, tokens=40, texts=0.9, other_texts=['a "b"'],
        intervals={"top1": (0.35, 0.65), "kl": (0.05, 0.15)},
    )  # fmt: skip
    thresholds = replace(STRICT, kl=0.12, top1=0.9)
    found = proof.judge_file("q8_0", thresholds, measured)
    assert found.fails == [
        "q8_0: its logits in llama.cpp differ from the merged model's by 0.5 standard deviations, "
        "gguf.thresholds.q8_0.relative_logits allows 0.001 here",
        "q8_0: llama.cpp reads 10.0% of the texts otherwise than the model was trained, "
        'gguf.thresholds.q8_0.texts wants 100.0% right; the first is "a \\"b\\""',
        "q8_0: 50.0% of its 40 top1 tokens are the merged model's, gguf.thresholds.q8_0.top1 wants 90.0%",
    ]
    chance = proof.judge_file("q8_0", replace(thresholds, kl=0.08), measured).missed
    assert chance == ["q8_0: its next tokens diverge from the merged model's by 0.1 nats, "
                      "gguf.thresholds.q8_0.kl allows 0.08"]  # fmt: skip
    lost = replace(measured, whole=float("nan"), limit=None)
    assert "differ from the merged model's by nan" in proof.judge_file("q8_0", replace(STRICT, top1=0.1), lost).fails[0]
