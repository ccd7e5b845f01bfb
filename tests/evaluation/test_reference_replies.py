"""What a reference says is its own, whoever drafts it, and goes as far as it is compared."""

from dataclasses import replace

import numpy as np
import pytest

from refrain.chat import encoding
from refrain.evaluation import reference_replies
from refrain.models.pytorch import loading as models
from refrain.models.pytorch.language_model import TorchLanguageModel

STEPS = 6
NONE = frozenset()


@pytest.fixture(scope="module")
def speaker(merged):
    return TorchLanguageModel(models.load_pretrained(merged))


@pytest.fixture(scope="module")
def prompts(talk, rows):
    return [[5], *(encoding.encode_prompt(talk, row["messages"][:-1]) for row in rows[:3])]


@pytest.fixture(scope="module")
def few(settings):
    return replace(settings, steps=STEPS)


class Author:
    """A speaker that counts the rows of each step, and of which anything else is the speaker's."""

    def __init__(self, speaker):
        self.speaker, self.rows = speaker, []

    def __getattr__(self, name):
        return getattr(self.speaker, name)

    def forward(self, ids, mask, cache, keep=0):
        self.rows += [] if cache is None else [len(ids)]
        return self.speaker.forward(ids, mask, cache, keep)


class Wrong(Author):
    """Only what it says first after a prompt of one token is another."""

    def forward(self, ids, mask, cache, keep=0):
        logits, after = self.speaker.forward(ids, mask, cache, keep)
        if cache is None:
            logits[mask.sum(axis=1) == 1, -1] *= -1
        return logits, after


def tokens_of(replies):
    return [reply.tokens for reply in replies]


def test_a_reference_decodes_only_what_it_would_not_say_as_it_was_drafted(speaker, prompts, few):
    own = reference_replies.find_replies(speaker, [(prompts, NONE)], few, None)
    assert {len(tokens) for tokens in tokens_of(own)} == {STEPS}
    for draft, steps in ((speaker, []), (Wrong(speaker), [1] * (STEPS - 1))):
        author = Author(speaker)
        found = reference_replies.find_replies(author, [(prompts, NONE)], few, lambda draft=draft: draft)
        assert author.rows == steps
        assert tokens_of(found) == tokens_of(own) and [reply.prompt for reply in found] == prompts


@pytest.mark.parametrize("draft", [True, False])
@pytest.mark.parametrize("least", [1, 4])
def test_a_reply_goes_up_to_its_end_and_for_a_few_tokens_at_least(draft, least, monkeypatch, speaker, prompts, few):
    monkeypatch.setattr(reference_replies, "LEAST", least)
    whole = reference_replies.find_replies(speaker, [(prompts, NONE)], few, None)
    end = whole[1].tokens[2]
    asked = [(prompts, frozenset({end})), (prompts[:2], NONE)]
    found = reference_replies.find_replies(speaker, asked, few, (lambda: speaker) if draft else None)
    for reply, other in zip(found, [*whole, *whole[:2]], strict=True):
        assert reply.tokens == other.tokens[: len(reply.tokens)] and len(reply.states) == len(reply.tokens)
        assert np.allclose(reply.states, other.states[: len(reply.states)], atol=1e-5)
    for reply, other in zip(found[: len(prompts)], whole, strict=True):
        ended = other.tokens.index(end) + 1 if end in other.tokens else STEPS
        assert (reply.heard, len(reply.tokens)) == (ended, max(ended, least))
    assert [len(reply.tokens) for reply in found[len(prompts) :]] == [STEPS, STEPS]
    assert found[1].heard < STEPS, "one of them has ended"


def test_prompts_are_fed_beside_those_of_like_length():
    prompts = [[0] * length for length in (9, 1, 5, 2, 7)]
    assert reference_replies.batches_by_length(prompts, 2) == [[1], [3, 2], [4, 0]]
