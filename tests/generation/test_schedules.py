"""Whatever comes, waits, leaves and breaks, and in whatever order: a reply is what it is alone, to the last bit."""

import random

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.engine import Engine, run
from refrain.generation.grammar import Grammar, GrammarState
from refrain.generation.sampling import Sampler, SamplingParams
from refrain.generation.sequence import DraftCounts, Sequence
from refrain.runtime import loading
from refrain.runtime.compact_session import CompactSession
from refrain.runtime.detokenizer import Detokenizer
from refrain.runtime.session import PREFILL_CHUNK

TOKENIZER = ChatTokenizer(traced_model.tokenizer(), traced_model.TEMPLATE, {"eos_token": "<|im_end|>"})
DIGITS = Grammar(TOKENIZER, None, "né: [0-9]{3,40}")
IDS = np.random.default_rng(1).integers(0, 256, 6 * PREFILL_CHUNK).tolist()
SCHEDULES = 200
TOKENS = 500  # that all slots may hold together: less than what is asked for
GRAPHS = ["llama fp32", "llama int8 repeats", "gpt2 int4 repeats", "optimum"]


class Nan:
    """A constraint that leaves nothing to choose after some tokens."""

    def __init__(self, tokens):
        self.left = tokens

    def mask(self, logits):
        return np.full_like(logits, np.nan) if self.left == 0 else logits

    def draft_tokens(self):
        return []

    def advance(self, token):
        self.left -= 1


@pytest.fixture(scope="module", params=GRAPHS)
def lm(request, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    if request.param == "optimum":
        return loading.load_model(traced_model.build(base / "tiny"), 1)
    family, bits, *repeats = request.param.split()
    return loading.load_model(compact_model.build(base, family, bits, bool(repeats)), 1)


def requests():
    """Prompts that share beginnings, end at the edges of chunks, and are sampled in every way."""
    lengths = [1, 2, PREFILL_CHUNK - 1, PREFILL_CHUNK, PREFILL_CHUNK + 1, 130, 2 * PREFILL_CHUNK, 235]
    for number in range(24):
        rng = random.Random(number)
        length = lengths[number % len(lengths)]
        prompt = IDS[:length] if number % 3 else [*IDS[: length // 2], *IDS[200 : 200 + length - length // 2]]
        limit = rng.randrange(1, 14 if number % 4 else 44)
        yield prompt, limit, SamplingParams(temperature=number % 2, top_p=0.9, seed=number), number % 5


def make(request):
    prompt, limit, params, kind = request
    constraint = {3: GrammarState(DIGITS), 4: Nan(3)}.get(kind)
    detokenizer = Detokenizer(TOKENIZER.tokenizer, tuple("abcdefghijklmnopqrstuvwxyz") if kind == 2 else ())
    sampler = Sampler(params, prompt, constraint)
    return Sequence(prompt, limit, TOKENIZER.stop_ids, detokenizer, sampler, 2 if kind else None)


def outcome(sequence):
    return sequence.ids, sequence.text, sequence.finish_reason, sequence.logprobs, str(sequence.error)


def finish_alone(lm, request):
    """The outcome of a request that has a new engine to itself, its prompt fed at once."""
    sequence = make(request)
    try:
        list(run(Engine(lm, 1), [sequence]))
    except ValueError as error:
        assert sequence.error is error
    return outcome(sequence)


def test_in_200_schedules_every_reply_is_what_it_is_alone(lm, request):
    asked = list(requests())
    right = [finish_alone(lm, request) for request in asked]
    assert {"length", "stop", "error"} <= {each[2] for each in right} and sum(len(each[0]) for each in right) > 70
    can_draft = isinstance(lm, CompactSession)
    ended = left_early = cached = 0
    drafted = DraftCounts()
    for schedule in range(SCHEDULES // len(GRAPHS)):
        rng = random.Random(schedule)
        slots = 32 if schedule % 10 == 0 else rng.choice([1, 2, 5, 8])
        num_draft_tokens = rng.choice([0, 1, 3, 9]) if can_draft else 0
        engine = Engine(lm, slots, num_draft_tokens, rng.choice([None, TOKENS]) if slots < 32 else None)
        engine._costs.row_cost = lambda _: 0.02  # any draft is worth it
        waiting = [(number, make(asked[number])) for number in rng.choices(range(len(asked)), k=max(12, slots))]
        inside = {}
        while waiting or inside:
            while waiting and rng.random() < 0.7 and engine.has_room(waiting[0][1]):
                number, sequence = waiting.pop(0)
                inside[number, id(sequence)] = sequence
                engine.begin(sequence)
            if inside and rng.random() < 0.06:
                key = rng.choice(list(inside))
                sequence = inside.pop(key)
                engine.remove(sequence)
                left_early += 1
                assert sequence.ids == right[key[0]][0][: len(sequence.ids)]
            engine.step()
            for sequence in engine.remove_finished():
                key = next(key for key, each in inside.items() if each is sequence)
                assert outcome(inside.pop(key)) == right[key[0]]
                drafted.draft_tokens += sequence.draft_counts.draft_tokens
                drafted.accepted_tokens += sequence.draft_counts.accepted_tokens
                ended, cached = ended + 1, cached + sequence.num_cached_tokens
    assert ended > 300 and left_early > 40 and cached > 5000, "there was company, and there were beginnings in common"
    if "repeats" in request.node.name:
        assert drafted.draft_tokens > drafted.accepted_tokens + 20 > 120, "drafts came true, and did not"


def test_what_all_slots_hold_stays_within_its_bound(lm):
    engine, asked = Engine(lm, 8, max_tokens=TOKENS), [make(request) for request in requests()]
    while asked or engine.running or engine.entering:
        if asked and engine.has_room(asked[0]):
            engine.begin(asked.pop(0))
        active = [*engine.running, *([engine.entering] if engine.entering else [])]
        free = [len(prompt) for prompt in engine._prefilled[len(engine.running) :]]
        own = len(engine._prefilled[engine._entering_slot]) if engine.entering else 0
        assert sum(each.max_length for each in active) + sum(free) - own <= TOKENS
        engine.step()
        engine.remove_finished()


def test_no_one_waits_for_a_long_prompt(lm):
    engine = Engine(lm, 2)
    first = Sequence(IDS[:5], 40, frozenset(), Detokenizer(TOKENIZER.tokenizer), Sampler(SamplingParams(), []))
    long = Sequence(IDS[:235], 2, frozenset(), Detokenizer(TOKENIZER.tokenizer), Sampler(SamplingParams(), []))
    engine.add(first)
    engine.begin(long)
    said = []
    while engine.entering is long:
        engine.step()
        said.append(len(first.ids))
    assert said == [2, 3, 4, 5], "a token at each of the four steps that the prompt took"
    assert len(long.ids) == 1
