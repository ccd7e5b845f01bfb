"""One engine for many threads: an interrupted step costs nobody a byte."""

import pytest
import served_model

from refrain.chat import encoding
from refrain.generation import sampling
from refrain.generation.request import GenerationRequest
from refrain.generation.shared_engine import SharedEngine
from refrain.runtime import loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return served_model.build(tmp_path_factory.mktemp("shared")) / "fp32"


@pytest.mark.parametrize("place", ["decode", "prefill"])
def test_an_interrupted_step_changes_no_byte_of_the_other_replies(folder, place, monkeypatch):
    engine = SharedEngine(loading.load_model(folder, 1), encoding.load_tokenizer(folder), slots=3)
    params = sampling.SamplingParams(temperature=1.5, seed=3)
    requests = [GenerationRequest([number + 1] * 70, params, 20) for number in range(4)]
    alone = ["".join(engine.add(request)) for request in requests]
    replies = [engine.add(request) for request in requests]
    readers = [iter(reply) for reply in replies]
    texts = [next(reader) for reader in readers[:2]]
    slots = engine._engine._slots
    feed = getattr(slots, place)

    def interrupt(*arguments):
        feed(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(slots, place, interrupt)
    with pytest.raises(KeyboardInterrupt):
        for _ in readers[3]:
            pass
    assert [text + "".join(reader) for text, reader in zip([*texts, ""], readers, strict=False)] == alone[:3]
    assert replies[3].is_cancelled and "".join(engine.add(requests[3])) == alone[3]


def test_a_reply_that_cannot_go_on_fails_alone(folder):
    tokenizer = encoding.load_tokenizer(folder)
    lm = loading.load_model(folder, 1)
    engine = SharedEngine(lm, tokenizer, slots=2)
    impossible = sampling.SamplingParams(logit_bias=dict.fromkeys(range(lm.vocab_size), -float("inf")))
    broken = engine.add(GenerationRequest([1], impossible, 5))
    whole = engine.add(GenerationRequest([1], sampling.SamplingParams(), 5))
    assert "".join(whole) == "".join(engine.add(GenerationRequest([1], sampling.SamplingParams(), 5)))
    with pytest.raises(ValueError, match="logits"):
        list(broken)
