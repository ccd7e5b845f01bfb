import math

import numpy as np
import pytest
import torch
from dialogues import with_template
from omegaconf import OmegaConf
from places import ROOT
from tool_templates import LOOP, TOOL_TEMPLATES, WEATHER

from refrain.chat import encoding
from refrain.evaluation import scoring
from refrain.models.pytorch import loading as models
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.runtime import loading as runtime

ALPACA = OmegaConf.load(ROOT / "conf/template/alpaca.yaml").jinja
TOKENS, BATCH = 12, 4


@pytest.fixture(scope="module")
def speaker(merged):
    return TorchLanguageModel(models.load_pretrained(merged))


class Parrot:
    """A language model that says the same ids after any prompt, and finds all others equally unlikely."""

    def __init__(self, ids, vocabulary):
        self.ids, self.vocabulary = ids, vocabulary

    def forward(self, ids, mask, cache, keep=0):
        said = cache or 0
        logits = np.zeros((*ids.shape, self.vocabulary), dtype=np.float32)
        if said < len(self.ids):
            logits[:, -1, self.ids[said]] = 1
        return logits[:, -keep:], said + 1


def parrot(talk, text):
    return Parrot(talk.tokenizer.encode(text, add_special_tokens=False).ids, talk.tokenizer.get_vocab_size())


def replies(lm, talk, rows, tokens=TOKENS, batch=BATCH):
    _, predictions = scoring.score_model("merged", lm, talk, rows, tokens, batch)
    return [prediction["prediction"] for prediction in predictions]


def loss_of(speaker, features):
    """What transformers itself finds."""
    tensors = {name: torch.tensor([ids]) for name, ids in features.items()}
    return speaker.model(**tensors).loss.item()


def test_perplexity_is_the_exponential_of_the_loss_of_transformers(speaker, talk, rows):
    row = rows[3]
    with torch.no_grad():
        loss = loss_of(speaker, encoding.encode_conversation(talk, row["messages"]))
    scores, _ = scoring.score_model("merged", speaker, talk, [row], TOKENS, BATCH)
    assert scores["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)


def test_perplexity_is_per_token_not_per_row(speaker, talk, rows):
    total, count = 0.0, 0
    for row in rows[:4]:
        features = encoding.encode_conversation(talk, row["messages"])
        labelled = sum(label != encoding.IGNORE_INDEX for label in features["labels"])
        with torch.no_grad():
            total += loss_of(speaker, features) * labelled
        count += labelled
    assert scoring.perplexity(speaker, talk, rows[:4]) == pytest.approx(math.exp(total / count), rel=1e-4)


def test_who_finds_all_words_equally_likely_has_the_vocabulary_for_perplexity(talk, rows):
    assert scoring.perplexity(Parrot([], 294), talk, rows) == pytest.approx(294)


def test_the_batch_size_changes_no_prediction(speaker, onnx, talk, rows):
    for lm in (speaker, runtime.load_model(onnx / "fp32")):
        alone = [reply for row in rows for reply in replies(lm, talk, [row])]
        some, together = (replies(lm, talk, rows, batch=size) for size in (3, 100))
        assert alone == some == together and len(set(alone)) > 1


def test_torch_and_onnx_say_the_same(speaker, onnx, talk, rows):
    said = replies(speaker, talk, rows)
    assert said == replies(runtime.load_model(onnx / "fp32"), talk, rows)


def test_every_row_is_scored_once_and_in_its_order(talk, rows):
    scores, predictions = scoring.score_model("merged", parrot(talk, "!<|im_end|>"), talk, rows[:5], TOKENS, 2)
    assert scores["rows"] == 5
    assert [prediction["id"] for prediction in predictions] == [row["id"] for row in rows[:5]]


def test_a_reply_is_at_most_so_many_tokens(talk, rows):
    assert replies(parrot(talk, "a" * 50), talk, rows[:2], tokens=7) == ["a" * 7] * 2


def test_a_prediction_stands_beside_its_last_question_and_its_reference(talk):
    turns = ["Be kind", "one?", "1", "two 🙂?", "2 "]
    roles = ["system", "user", "assistant", "user", "assistant"]
    row = {"id": "x", "messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]}
    scores, predictions = scoring.score_model("merged", parrot(talk, " 2<|im_end|>\n3"), talk, [row], TOKENS, BATCH)
    said = {"id": "x", "question": "two 🙂?", "prediction": "2", "reference": "2 "}
    assert predictions == [{**said, "loss": predictions[0]["loss"], "tokens": 5}]
    assert math.exp(predictions[0]["loss"] / 5) == pytest.approx(scores["perplexity"], rel=1e-3)
    assert (scores["exact_match"], scores["token_f1"], scores["rougeL"]) == (1, 1, 1)


def test_a_call_is_asked_with_its_tools_and_scored_as_the_template_writes_it(saved, tokenizer):
    talk = with_template(saved, tokenizer, TOOL_TEMPLATES["qwen2_5"])
    row = {"id": "x", "messages": LOOP[:2], "tools": [WEATHER]}
    said = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    scores, [prediction] = scoring.score_model("merged", parrot(talk, said + "<|im_end|>"), talk, [row], 99, BATCH)
    texts = {"id": "x", "question": "Weather in Oslo?", "prediction": said, "reference": said}
    assert prediction.items() >= texts.items()
    assert scores["exact_match"] == 1
    asked = encoding.encode_last_prompt(talk, row)
    assert "what falls there" in talk.tokenizer.decode(asked, skip_special_tokens=False)


def test_a_reply_ends_at_the_template_s_marker(talk, rows):
    assert replies(parrot(talk, "fine 🙂<|im_end|> and on"), talk, rows[:2]) == ["fine 🙂"] * 2


@pytest.mark.parametrize("said", ["fine</end>\n\n### ", "fine</end>", "fine"])
def test_a_marker_that_is_no_token_ends_a_reply_all_the_same(saved, tokenizer, rows, said):
    talk = encoding.load_tokenizer(saved(tokenizer), ALPACA.replace("eos_token", "'</end>'"))
    assert talk.stop_strings == ("</end>",) and not talk.stop_ids
    assert replies(parrot(talk, said), talk, rows[:2], tokens=len(parrot(talk, said).ids)) == ["fine"] * 2


def test_rows_that_the_model_cannot_see_at_once_are_left_out_and_counted(talk, rows, caplog):
    sizes = [len(encoding.encode_conversation(talk, row["messages"])["input_ids"]) for row in rows]
    asked = [len(encoding.encode_prompt(talk, row["messages"][:-1])) for row in rows]
    context = sorted(sizes)[8]
    kept = scoring.rows_that_fit(talk, rows, context, max_new_tokens=0)
    assert kept == [row for row, size in zip(rows, sizes, strict=True) if size <= context] and 0 < len(kept) < len(rows)
    assert caplog.messages == [
        f"{len(rows) - len(kept)} of {len(rows)} rows do not fit into the {context} tokens that the model sees"
    ]
    room = max(sizes) - min(asked)
    assert scoring.rows_that_fit(talk, rows, max(sizes), room) == [
        row for row, prompt in zip(rows, asked, strict=True) if prompt + room <= max(sizes)
    ]


@pytest.mark.parametrize("piece", [1, 3, 64])
def test_logits_are_asked_from_the_first_labelled_token_on_and_in_pieces(piece, speaker, talk, rows, monkeypatch):
    example = encoding.encode_conversation(talk, rows[4]["messages"])
    ids, labels = example["input_ids"], example["labels"]
    logits = speaker.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    right = [float(logits[at, label]) for at, label in enumerate(labels[1:]) if label != encoding.IGNORE_INDEX]
    shapes = []
    hook = speaker.model.lm_head.register_forward_hook(lambda head, inputs, out: shapes.append(out.shape[1]))
    monkeypatch.setattr(scoring, "PIECE", piece)
    got = scoring.label_logprobs(speaker, ids, labels)
    hook.remove()
    assert got == pytest.approx(right, abs=1e-4) and max(shapes) <= piece and sum(shapes) < len(ids) - 1
    assert scoring.label_logprobs(speaker, ids, [encoding.IGNORE_INDEX] * len(ids)) == []
