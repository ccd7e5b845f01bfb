"""Replies enter and leave at every step, and each is what it is alone, to the last bit."""

import random

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.engine import Engine, run
from refrain.generation.grammar import Grammar, GrammarState
from refrain.generation.sampling import Sampler, SamplingParams
from refrain.generation.sequence import Sequence
from refrain.runtime import language_model, loading
from refrain.runtime.detokenizer import Detokenizer
from refrain.runtime.session import PREFILL_CHUNK

NONE = frozenset()
TALK = ChatTokenizer(traced_model.tokenizer(), traced_model.TEMPLATE, {"eos_token": "<|im_end|>"})
PERSON = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 9}}, "required": ["age"],
          "additionalProperties": False}  # fmt: skip
GRAMMAR = Grammar(TALK, PERSON, None)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
IDS = np.random.default_rng(0).integers(0, 256, 4 * PREFILL_CHUNK).tolist()
GRAPHS = [*(f"{family} {bits}" for family in ("llama", "gpt2") for bits in ("fp32", "int8", "int4")), "optimum"]
PLAIN = {0, 1, 2, 3}  # of the mixed replies those that decoding.greedy says too


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A function that opens a model."""
    base = tmp_path_factory.getbasetemp()

    def load(name, repeats=False):
        if name == "optimum":
            return loading.load_model(traced_model.build(base / "tiny"), 1)
        return loading.load_model(compact_model.build(base, *name.split(), repeats), 1)

    return load


@pytest.fixture(scope="module", params=GRAPHS)
def lm(request, opened):
    return opened(request.param)


@pytest.fixture(scope="module")
def llama(opened):
    return opened("llama fp32")


class Counted:
    """A model and its rows as they are, and how many ids each call was given."""

    def __init__(self, lm):
        self.lm, self.context, self.fed, self.stepped, self.moved = lm, lm.context, [], [], []
        self.drafted, self.longest = [], 0

    def allocate_slots(self, *counts):
        self.own = self.lm.allocate_slots(*counts)
        return self

    def prefill(self, row, ids, keep=1):
        self.fed.append(len(ids))
        return self.own.prefill(row, ids, keep)

    def decode(self, ids):
        self.stepped.append(len(ids))
        return self.own.decode(ids)

    def decode_drafts(self, ids):
        self.drafted.append(sum(map(len, ids)) - len(ids))
        logits = self.own.decode_drafts(ids)
        self.longest = max(self.longest, *self.own.lengths)
        return logits

    def copy(self, source, target, length):
        self.moved += [("copy", length)] if source != target and length else []
        self.own.copy(source, target, length)

    def swap(self, first, second):
        self.moved.append(("swap", first, second))
        self.own.swap(first, second)

    def __getattr__(self, name):
        return getattr(self.own, name)


def drafting(lm, slots=1, num_draft_tokens=8):
    """An engine for which a draft is worth its time, however fast or slow this machine is."""
    engine = Engine(lm, slots, num_draft_tokens)
    engine._costs.row_cost = lambda _: 0.05
    return engine


def greedy(prompt, limit=12, ends=NONE, stops=(), logprobs=None):
    return reply(prompt, SamplingParams(), limit, ends, stops, logprobs=logprobs)


def reply(prompt, manner, limit=12, ends=NONE, stops=(), constraint=None, logprobs=None):
    return Sequence(
        prompt, limit, ends, Detokenizer(TALK.tokenizer, stops), Sampler(manner, prompt, constraint), logprobs
    )


def mixed():
    """Twelve replies, new each time: of all lengths, in all manners, some with a beginning in common."""
    shape = {"constraint": GrammarState(GRAMMAR), "ends": TALK.stop_ids}
    return [
        greedy(IDS[:1], 9),
        greedy(IDS[: PREFILL_CHUNK + 1], 25),
        greedy(IDS[:PREFILL_CHUNK], 1),
        greedy(IDS[: 2 * PREFILL_CHUNK + 40], 30, frozenset(range(0, 272, 2))),
        greedy(IDS[: 2 * PREFILL_CHUNK + 41], 14, stops=LETTERS, logprobs=3),
        reply(IDS[: 3 * PREFILL_CHUNK], SamplingParams(temperature=0.7, seed=1, top_k=20, top_p=0.9), 17),
        reply(IDS[: 3 * PREFILL_CHUNK], SamplingParams(temperature=0.7, seed=2, top_k=20, top_p=0.9), 17),
        reply(IDS[:PREFILL_CHUNK][::-1], SamplingParams(temperature=1.5, seed=3, min_p=0.01), 40, stops=LETTERS),
        reply(
            IDS[:7], SamplingParams(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.5), 22, logprobs=2
        ),
        reply(
            IDS[3:90],
            SamplingParams(temperature=1.0, seed=4, logit_bias={7: 5.0, 258: -100.0}),
            33,
            frozenset({7, 258}),
        ),
        reply(IDS[: PREFILL_CHUNK + 9], SamplingParams(temperature=1.0, seed=5), 40, **shape),
        reply(IDS[5:9], SamplingParams(temperature=1.0, seed=6), 5, NONE, ("zz", "é", "\x00")),
    ]


def outcome(reply):
    return reply.ids, reply.text, reply.finish_reason, reply.logprobs


def alone(lm, reply):
    """A reply that has a model to itself, in rows that nobody used before."""
    (done,) = run(Engine(lm, 1), [reply])
    return outcome(done)


def steps(engine, reply):
    """How many steps a reply takes alone."""
    engine.add(reply)
    count = 0
    while reply.finish_reason is None:
        engine.step()
        count += 1
    engine.remove(reply)
    return count


def test_the_replies_of_these_tests_are_awkward(llama):
    done = [alone(llama, each) for each in mixed()]
    assert {reason for _, _, reason, _ in done} == {"end", "stop", "length"}
    assert len({tuple(ids) for ids, *_ in done}) == 12 and len({len(ids) for ids, *_ in done}) > 6
    assert done[10][1].startswith('{"age":') and not all(text.isascii() for _, text, *_ in done)


@pytest.mark.heavy
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_a_reply_is_the_same_in_any_company_and_in_any_order(rows, lm):
    right = [alone(lm, each) for each in mixed()]
    for seed in range(3):
        replies = mixed()
        order = random.Random(seed).sample(replies, len(replies))
        done = list(run(Engine(lm, rows), order))
        assert sorted(map(id, done)) == sorted(map(id, replies))
        assert [outcome(each) for each in replies] == right


def test_the_likeliest_is_what_greedy_decoding_says(lm):
    replies = mixed()
    list(run(Engine(lm, 3), replies))
    for each, again in [(replies[i], mixed()[i]) for i in PLAIN]:
        limit, ends = again._max_new_tokens, again._stop_ids
        assert each.ids == language_model.greedy_decode(lm, [each.prompt_ids], limit, ends)[0]


def test_a_row_that_is_free_is_taken_in_the_same_step(llama):
    limits = [3, 9, 1, 4, 6, 2, 8, 1, 5, 7]
    lm = Counted(llama)
    done = list(run(Engine(lm, 3), (greedy(IDS[i : i + 20], limit) for i, limit in enumerate(limits))))
    assert [each.finish_reason for each in done] == ["length"] * 10 and len(lm.fed) == 10
    assert sum(lm.stepped) == sum(limits) - 10, "the first token of each comes with its prompt"
    assert lm.stepped[:8] == [3] * 8 and sorted(lm.stepped, reverse=True) == lm.stepped


def test_replies_are_asked_for_only_when_there_is_room(llama):
    asked = []

    def waiting():
        for i in range(5):
            asked.append(i)
            yield greedy(IDS[i : i + 9], 4)

    done = run(Engine(llama, 2), waiting())
    assert (next(done).prompt_ids, asked) == (IDS[:9], [0, 1])
    assert len(list(done)) == 4 and asked == [0, 1, 2, 3, 4]


def test_no_replies_are_none(llama):
    assert list(run(Engine(llama, 2), [])) == []


def test_whatever_comes_and_goes_nothing_changes(lm):
    rng = random.Random(0)
    engine, counted = Engine(lm, 4), 0
    prompts = [IDS[: rng.choice([1, 63, 64, 65, 128, 129, 170])] + IDS[: rng.randrange(40)] for _ in range(40)]
    asked = [(prompt, rng.randrange(1, 20), rng.choice([0.0, 1.0]), seed) for seed, prompt in enumerate(prompts)]

    def made(prompt, limit, temperature, seed):
        return reply(prompt, SamplingParams(temperature=temperature, seed=seed), limit)

    right = [alone(lm, made(*each)) for each in asked]
    replies = [made(*each) for each in asked]
    waiting = list(replies)
    while waiting or engine.running:
        for _ in range(rng.randrange(3)):
            if waiting and engine.free_slots():
                engine.add(waiting.pop())
        for each in engine.remove_finished():
            counted += 1
            assert outcome(each) == right[replies.index(each)]
        if engine.running and rng.random() < 0.1:  # one leaves in the middle
            left = rng.choice(engine.running)
            engine.remove(left)
            assert left.ids == right[replies.index(left)][0][: len(left.ids)]
        if engine.running:
            engine.step()
    assert counted > 20


def test_a_beginning_in_common_is_fed_once_and_changes_nothing(llama):
    begin = IDS[: 2 * PREFILL_CHUNK + 20]
    prompts = [begin + IDS[i : i + 9 + i] for i in range(5)]
    right = [alone(llama, greedy(prompt)) for prompt in prompts]
    lm = Counted(llama)
    engine = Engine(lm, 3)
    done = {tuple(each.prompt_ids): outcome(each) for each in run(engine, map(greedy, prompts))}
    assert [done[tuple(prompt)] for prompt in prompts] == right
    assert sum(lm.fed) == sum(map(len, prompts)) - 4 * 2 * PREFILL_CHUNK and max(lm.fed) == PREFILL_CHUNK


@pytest.mark.parametrize("length", [PREFILL_CHUNK - 1, PREFILL_CHUNK, PREFILL_CHUNK + 1, 3 * PREFILL_CHUNK])
def test_of_the_same_prompt_only_the_last_piece_is_fed_again(length, llama):
    lm = Counted(llama)
    one, two = run(Engine(lm, 1), [greedy(IDS[:length]), greedy(IDS[:length])])
    assert outcome(one) == outcome(two)
    assert sum(lm.fed) == 2 * length - (length - 1) // PREFILL_CHUNK * PREFILL_CHUNK


def test_a_chat_that_grows_is_not_read_again_but_what_was_said_is(llama):
    lm = Counted(llama)
    engine, prompt, lengths = Engine(lm, 2), IDS[: PREFILL_CHUNK + 10], []
    for turn in range(4):
        answer = greedy(prompt, 30)
        steps(engine, answer)
        assert outcome(answer) == alone(llama, greedy(prompt, 30))
        lengths.append(len(prompt))
        prompt = [*prompt, *answer.ids, *IDS[turn : turn + 25]]
    kept = [0, *(length // PREFILL_CHUNK * PREFILL_CHUNK for length in lengths)]
    assert sum(lm.fed) == sum(length - before for length, before in zip(lengths, kept, strict=False))
    assert kept[-1] > 2 * PREFILL_CHUNK


def test_whoever_follows_with_the_same_beginning_goes_on_in_the_place_of_who_left(llama):
    begin = IDS[: 2 * PREFILL_CHUNK]
    lm = Counted(llama)
    engine = Engine(lm, 3)
    for i in range(3):
        engine.add(greedy([*begin, 1, i], 30 if i else 4))
    assert lm.moved == [("copy", len(begin))] * 2, "the beginning, for two who came while others ran"
    while not engine.remove_finished():
        engine.step()
    lm.moved.clear()
    engine.add(late := greedy([*begin, 2, 3], 4))
    assert lm.moved == [] and late.num_cached_tokens == len(begin)


def test_who_leaves_is_replaced_by_a_copy_where_nothing_of_its_prompt_is_missed(llama):
    lm = Counted(llama)
    for question, moved in ((IDS[:2], "copy"), (IDS[: 2 * PREFILL_CHUNK], "swap")):
        engine = Engine(lm, 2)
        engine.add(first := greedy(question))
        engine.add(greedy(IDS[1:40]))
        lm.moved.clear()
        engine.remove(first)
        assert [name for name, *_ in lm.moved] == [moved]


def test_a_prompt_that_is_too_long_is_refused_and_the_others_go_on(lm):
    right = [alone(lm, greedy(IDS[i : i + 30])) for i in range(4)]
    replies = [greedy(IDS[i : i + 30]) for i in range(4)]
    long = greedy(np.resize(IDS, lm.context + 1).tolist())
    engine, queue, done, refused = Engine(lm, 3), iter([*replies[:2], long, *replies[2:]]), [], 0
    while len(done) < 4:
        try:
            done += run(engine, queue)
        except ValueError as error:
            refused += 1
            assert str(error) == f"{lm.context + 1} tokens: the model sees {lm.context} at once; shorten the text"
    assert refused == 1 and long.ids == [] and [outcome(each) for each in replies] == right


@pytest.mark.parametrize("prompt", [[*IDS[150:0:-1], 7], IDS[: 3 * PREFILL_CHUNK]], ids=["was there", "was refused"])
def test_a_refused_prompt_leaves_a_row_in_which_nothing_is_mistaken(prompt, llama):
    engine = Engine(llama, 2)
    (
        engine.add(stays := greedy(IDS[: PREFILL_CHUNK + 9], 60)),
        engine.add(greedy(IDS[150:0:-1], 1)),
        engine.remove_finished(),
    )
    with pytest.raises(ValueError, match="shorten the text"):  # only its first piece gets where the second prompt was
        engine.add(greedy(np.resize(IDS, llama.context + 1).tolist()))
    engine.add(greedy(prompt)), engine.remove(stays)
    assert [outcome(each) for each in run(engine, [])] == [alone(llama, greedy(prompt))]


def test_a_reply_may_fill_the_context_to_its_last_token(lm):
    prompt = np.resize(IDS, lm.context - 5).tolist()
    right = alone(lm, greedy(prompt, 6))
    beside = greedy(IDS[:20], 12)
    both = list(run(Engine(lm, 2), [greedy(prompt, 6), beside]))
    assert [outcome(each) for each in both] == [right, alone(lm, greedy(IDS[:20], 12))] and len(right[0]) == 6


def test_a_reply_that_cannot_begin_leaves_no_trace(llama):
    class Nothing:
        def mask(self, logits):
            return np.full_like(logits, -np.inf)

        def draft_tokens(self):
            return []

        def advance(self, token):
            raise AssertionError("nothing can be chosen")

    engine = Engine(llama, 2)
    other = greedy(IDS[:40])
    engine.add(other)
    with pytest.raises(ValueError, match=r"^logits: the highest is -inf"):
        engine.add(reply(IDS[: PREFILL_CHUNK + 5], SamplingParams(), constraint=Nothing()))
    assert engine.running == [other] and engine.free_slots() == 1
    assert [outcome(each) for each in run(engine, [greedy(IDS[: PREFILL_CHUNK + 9])])] == [
        alone(llama, greedy(IDS[:40])),
        alone(llama, greedy(IDS[: PREFILL_CHUNK + 9])),
    ]


def test_a_reply_that_ended_takes_no_step(llama):
    engine = Engine(llama, 2)
    engine.add(greedy(IDS[:9], 1)), engine.add(greedy(IDS[:9], 2))
    with pytest.raises(ValueError, match=r"^the engine: an ended reply takes no step; remove it first$"):
        engine.step()
    (ended,) = engine.remove_finished()
    engine.step()
    assert (len(ended.ids), len(engine.remove_finished()[0].ids)) == (1, 2)


def test_pieces_are_the_text_as_it_becomes_certain(llama):
    engine, said = Engine(llama, 1), []
    talk = reply(IDS[:9], SamplingParams(temperature=1.0, seed=8), 200, stops=("é",))
    engine.add(talk)
    while True:
        said.append(talk.new_text())
        assert "".join(said) == talk.text and talk.new_text() == ""
        if talk.finish_reason is not None:
            break
        engine.step()
    assert len(said) == 200 and "" in said and len("".join(said)) > 60 and max(map(len, said)) > 1


@pytest.mark.parametrize("manner", [SamplingParams(), SamplingParams(temperature=1.0, seed=3)])
def test_log_probabilities_fall_and_all_of_them_make_one(manner, lm):
    each = reply(IDS[:30], manner, 8, logprobs=1000)
    list(run(Engine(lm, 2), [each, greedy(IDS[:50])]))
    assert len(each.logprobs) == len(each.ids) == 8
    for token, (chosen, likeliest) in zip(each.ids, each.logprobs, strict=True):
        assert chosen == dict(likeliest)[token]
        ids, chances = zip(*likeliest, strict=True)
        assert sorted(ids) == list(range(len(ids))) and len(ids) >= 259
        assert list(chances) == sorted(chances, reverse=True) and np.exp(chances).sum() == pytest.approx(1, abs=1e-4)
        assert manner.temperature or token == ids[0]


def test_as_many_log_probabilities_come_as_were_asked_for_and_none_for_the_end(llama):
    ends = frozenset(range(0, 272, 2))
    one, none = greedy(IDS[:30], 20, ends, logprobs=3), greedy(IDS[:30], 20, ends)
    list(run(Engine(llama, 2), [one, none]))
    assert (
        one.finish_reason == "end"
        and [len(each.top) for each in one.logprobs] == [3] * len(one.ids)
        and none.logprobs == []
    )


@pytest.mark.heavy
@pytest.mark.parametrize("name", GRAPHS[:-1])
def test_drafts_say_the_same_to_the_last_bit_in_fewer_steps_where_a_text_repeats_itself(name, opened):
    lm = opened(name, repeats=True)
    slow, fast, counts = Engine(lm, 1), drafting(lm), []
    for at in range(20):
        manner = SamplingParams(temperature=at % 2 / 10, seed=at, logit_bias={at: -1.0} if at % 3 else {})
        one, two = (reply(IDS[at : at + 9], manner, 100, logprobs=2) for _ in range(2))
        counts.append((steps(slow, one), steps(fast, two)))
        assert outcome(one) == outcome(two)
    plain, drafted = np.sum(counts, axis=0)
    assert plain == 20 * 99 and drafted < plain / 2


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11, 12, 57])
def test_drafts_go_no_further_than_the_limit(limit, opened):
    lm = Counted(opened("gpt2 fp32", repeats=True))
    one, two = greedy(IDS[:9], limit), greedy(IDS[:9], limit)
    steps(Engine(lm.lm, 1), one), steps(drafting(lm), two)
    assert outcome(one) == outcome(two) and len(two.ids) == limit
    assert lm.longest <= 9 + limit - 1


def test_a_draft_may_hold_what_ends_a_reply(opened):
    lm = opened("gpt2 fp32", repeats=True)
    before = greedy(IDS[:9], 100)
    steps(Engine(lm, 1), before)
    prompt, slow, fast, reasons = [*IDS[:9], *before.ids], Engine(lm, 1), drafting(lm), set()
    for token in set(before.ids[-20:]):
        for asked in ({"ends": frozenset({token})}, {"stops": (TALK.tokenizer.decode([token]),)}):
            one, two = greedy(prompt, 30, **asked), greedy(prompt, 30, **asked)
            assert steps(slow, one) > steps(fast, two) or len(one.ids) < 3
            assert outcome(one) == outcome(two)
            reasons.add(two.finish_reason)
    assert {"end", "stop"} <= reasons


def test_where_nothing_comes_twice_nothing_is_drafted(opened):
    lm = Counted(opened("llama fp32"))
    each = reply(IDS[:60], SamplingParams(temperature=5.0, seed=1), 20)
    steps(drafting(lm), each)
    assert each.draft_counts.drafts == 0 and lm.stepped == [1] * 19


def test_drafts_of_all_together_are_as_many_as_there_may_be(opened):
    lm = Counted(opened("gpt2 fp32", repeats=True))
    engine = drafting(lm, 3, 4)
    both = [greedy(IDS[at : at + 9], 60) for at in range(3)]
    right = [alone(lm.lm, greedy(IDS[at : at + 9], 60)) for at in range(3)]
    list(run(engine, both))
    assert [outcome(each) for each in both] == right
    assert max(lm.drafted) == 4 and all(each.draft_counts.accepted_tokens > 5 for each in both)


def test_after_drafts_others_may_enter_and_are_themselves(opened):
    lm = opened("gpt2 fp32", repeats=True)
    right = [alone(lm, greedy(IDS[at : at + 80])) for at in range(3)]
    engine = drafting(lm, 3)
    first = greedy(IDS[:9], 60)
    engine.add(first)
    for _ in range(6):
        engine.step()
    replies = [greedy(IDS[at : at + 80]) for at in range(3)]
    list(run(engine, replies))
    assert [outcome(each) for each in replies] == right
