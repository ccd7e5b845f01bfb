import json
import re

import jsonschema
import numpy as np
import pytest
import traced_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.grammar import Grammar, GrammarState
from refrain.generation.sampling import Sampler, SamplingParams
from refrain.runtime import detokenizer

NAMES = {"eos_token": "<|endoftext|>"}
TEXT = ['{"name": "Zoë", "age": 31, "tags": ["a", "b"]}', "hello world, how are you today?", "true false null"] * 9
BYTES = pre_tokenizers.ByteLevel.alphabet()
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "mood": {"enum": ["😀", "sad", 'a "quoted" \\ one\n', "👩‍👩‍👧"]},
        "größe": {"type": "integer", "minimum": -3, "maximum": 250},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z😀é]{1,3}$"}, "maxItems": 3},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "mood", "größe", "tags", "next"],
    "additionalProperties": False,
}


def byte_level():
    """One id for each byte; <|im_end|> and <|endoftext|> both end a reply."""
    return traced_model.tokenizer()


def bpe():
    """Ids of many letters, of which some go beyond a piece of JSON; it puts a blank before every text."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=400, initial_alphabet=BYTES, show_progress=False))
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in traced_model.SPECIAL])
    raw.add_tokens([AddedToken("plain added", normalized=False)])
    return raw


def fallback():
    """As Llama 2 has it: a blank before the text, bytes for letters that are unknown."""
    listed = ["<unk>", *(f"<0x{number:02X}>" for number in range(256)), *"▁abcdehlnor{}[]':,"]
    vocabulary = {token: number for number, token in enumerate(listed)}
    raw = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in ["<unk>", *traced_model.SPECIAL]])
    return raw


LANGUAGES = [ChatTokenizer(make(), traced_model.TEMPLATE, NAMES) for make in (byte_level, bpe, fallback)]
NAMED = pytest.mark.parametrize("language", LANGUAGES, ids=["byte_level", "bpe", "fallback"])


def babble(language, grammar, seed=0, limit=2000, spare=7):
    """What a model says that knows nothing: its ids with the end, and the text. It has more logits than tokens."""
    rng = np.random.default_rng(seed)
    constraint = GrammarState(grammar)
    sampler = Sampler(SamplingParams(temperature=1, seed=seed), [], constraint)
    ids = []
    while not (ids and ids[-1] in language.stop_ids):
        assert len(ids) < limit, decode(language, ids)
        ids.append(sampler.sample(rng.normal(0, 2, size(language) + spare).astype(np.float32)))
    assert constraint.is_finished
    return ids, decode(language, ids[:-1])


def decode(language, ids):
    return "".join(detokenizer.detokenize(ids, language.tokenizer))


def size(language):
    return language.tokenizer.get_vocab_size()


def allowed(constraint, language):
    """The ids that may follow."""
    return set(np.flatnonzero(constraint.mask(np.zeros(size(language), dtype=np.float32)) == 0).tolist())


def spelled(text, language):
    """The ids of a text's bytes, one by one."""
    told = {bytes(bytearray([number])): None for number in range(256)}
    for number in range(size(language)):
        token = language.tokenizer.id_to_token(number)
        if token in BYTES and len(token) == 1:
            told[byte(token)] = number
    return [told[bytes([each])] for each in text.encode()]


def byte(letter):
    """The byte that a letter of a byte-level tokenizer stands for."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [number for number in range(256) if number not in shown]
    code = ord(letter)
    return bytes([code if code in shown else hidden[code - 256]])


@pytest.mark.heavy
@NAMED
def test_whatever_a_model_would_rather_say_a_schema_is_kept(language):
    grammar, said = Grammar(language, PERSON, None), set()
    for seed in range(25):
        ids, text = babble(language, grammar, seed)
        jsonschema.validate(json.loads(text), PERSON)
        assert set(ids[:-1]).isdisjoint(language.index.special_ids.values())
        said.add(text)
    assert len(said) == 25 and any("😀" in text for text in said)


@NAMED
@pytest.mark.parametrize("schema", [
    {"type": "boolean"}, {"const": None}, {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
    {"enum": [1, "1", [1], {"a": 1}]}, {"type": "object", "maxProperties": 0}, {"type": "integer", "multipleOf": 7},
    {"type": "string", "format": "date"}, {"type": "string", "minLength": 2, "maxLength": 2},
])  # fmt: skip
def test_schemas_of_all_sorts_are_kept(language, schema):
    for seed in range(5):
        jsonschema.validate(json.loads(babble(language, Grammar(language, schema, None), seed)[1]), schema)


@NAMED
@pytest.mark.parametrize("regex", [
    "(ab|c)+", "[0-9]{3}-[0-9]{4}", "😀{2}|é", "[^a]{1,4}", r'"/\\\n', "(?i)yes|no", "^a$", "a\nb",
])  # fmt: skip
def test_whatever_a_model_would_rather_say_a_regular_expression_is_kept(language, regex):
    for seed in range(10):
        text = babble(language, Grammar(language, None, regex), seed)[1]
        assert re.fullmatch(regex, text), text


@NAMED
def test_a_reply_may_end_exactly_where_the_expression_does(language):
    constraint, ids, rng = GrammarState(Grammar(language, None, "(ab)*c?")), [], np.random.default_rng(0)
    assert len(language.stop_ids) == 2
    while not constraint.is_finished:
        may = allowed(constraint, language)
        whole = re.fullmatch("(ab)*c?", decode(language, ids)) is not None
        assert may & language.stop_ids == (language.stop_ids if whole else set()), "all ends or none"
        ids.append(int(rng.choice(sorted(may - language.stop_ids))))
        constraint.advance(ids[-1])
    assert decode(language, ids).endswith("c") and allowed(constraint, language) == language.stop_ids


@pytest.mark.parametrize("end", traced_model.SPECIAL[::2])
def test_each_end_is_heard_before_and_after_the_last_possible_token(end):
    language = LANGUAGES[0]
    number = language.index.special_ids[end]
    for text in ("ab", "abc"):  # after c nothing may follow
        constraint = GrammarState(Grammar(language, None, "(ab)*c?"))
        for token in spelled(text, language):
            constraint.advance(token)
        assert constraint.is_finished == (text == "abc")
        constraint.advance(number)
        assert constraint.is_finished and allowed(constraint, language) == language.stop_ids


@NAMED
def test_control_tokens_never_stand_in_the_text(language):
    constraint = GrammarState(Grammar(language, None, r"(?s).*"))
    others = set(language.index.special_ids.values()) - language.stop_ids
    assert others and allowed(constraint, language) & others == set()


@NAMED
@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_start|>b", "plain added", " blank first"])
def test_a_text_without_a_choice_is_spelled_and_not_forced(language, text):
    """llguidance would tokenize it as the tokenizer does: into a control token, or with a blank before it."""
    ids, said = babble(language, Grammar(language, {"const": text}, None))
    assert json.loads(said) == text
    assert set(ids[:-1]).isdisjoint(language.index.special_ids.values())


def test_json_is_written_on_one_line_as_pythons_or_without_blanks():
    """With any blanks allowed, a model that has not learnt to stop indents until its limit."""
    schema = {"properties": {"a": {"const": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    grammar = Grammar(LANGUAGES[0], schema | {"type": "object"}, None)
    said = {babble(LANGUAGES[0], grammar, seed)[1] for seed in range(60)}
    assert {'{"a": [1, 2]}', '{"a":[1,2]}'} <= said
    assert {re.sub("([:,]) ", r"\1", text) for text in said} == {'{"a":[1,2]}'}


def test_what_a_schema_says_to_llguidance_is_not_heard():
    schema = {"const": [1, 2], "x-guidance": {"item_separator": "lies"}}
    assert json.loads(babble(LANGUAGES[0], Grammar(LANGUAGES[0], schema, None))[1]) == [1, 2]


def test_replies_of_one_grammar_do_not_hear_each_other():
    language = LANGUAGES[1]
    grammar = Grammar(language, PERSON, None)
    alone = [babble(language, grammar, seed)[0] for seed in range(3)]
    constraints = [GrammarState(grammar) for _ in alone]
    for step in range(max(map(len, alone))):
        for ids, constraint in zip(alone, constraints, strict=True):
            if step < len(ids):
                assert ids[step] in allowed(constraint, language)
                constraint.advance(ids[step])
    assert all(constraint.is_finished for constraint in constraints)


def test_a_mask_is_a_copy_and_stands_any_number_of_logits():
    language = LANGUAGES[0]
    constraint = GrammarState(Grammar(language, None, "a+"))
    a = spelled("a", language)[0]
    for length in (a + 1, size(language), size(language) + 1, 1000):
        logits = np.arange(length, dtype=np.float32)
        logits.flags.writeable = False
        masked = constraint.mask(logits)
        assert masked.shape == logits.shape and masked.dtype == np.float32
        assert masked[a] == a and np.isneginf(np.delete(masked, a)).all()


def test_a_token_that_may_not_follow_is_refused():
    language = LANGUAGES[0]
    a, b = spelled("ab", language)
    end = min(language.stop_ids)
    for regex, tokens in (("a+", [b]), ("a+", [end]), ("a+", [a, b]), ("a", [a, a]), ("a", [a, end, a])):
        constraint = GrammarState(Grammar(language, None, regex))
        for token in tokens[:-1]:
            constraint.advance(token)
        with pytest.raises(ValueError, match=f"^the reply: token {tokens[-1]} may not follow "):
            constraint.advance(tokens[-1])


@pytest.mark.parametrize("schema, wrong", [
    ({"type": "klingon", "title": "an error: none"}, "Invalid type: klingon"),
    ({"enum": []}, "Unsatisfiable"), ({"not": {}}, '"not"'),
    ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"), ({"$ref": "http://x/y"}, "http://x/y"),
    ({"properties": []}, "properties must be an object"), ({"type": "integer", "minimum": 2, "maximum": 1}, "minimum"),
    ({"type": "string", "format": "runes"}, "Unknown format: runes"),
])  # fmt: skip
def test_a_schema_that_cannot_be_kept_is_one_sentence(schema, wrong):
    with pytest.raises(ValueError, match=r"^the JSON schema: .*; write it another way$") as caught:
        Grammar(LANGUAGES[0], schema, None)
    assert wrong in str(caught.value) and "compile" not in str(caught.value)


@pytest.mark.parametrize("regex, wrong", [
    ("error: (", "unclosed group"), ("[z-a]", "invalid character class range"), (r"(a)\1", "backreferences"),
    (r"\bfoo", "lookarounds"), ("(?-u:\\xff)", "invalid UTF-8"), (r"[^\s\S]", "no token of this model fits"),
])  # fmt: skip
def test_an_expression_that_cannot_be_kept_is_one_sentence(regex, wrong):
    with pytest.raises(ValueError, match=r"^the regular expression: .*; write it another way$") as caught:
        Grammar(LANGUAGES[0], None, regex)
    assert wrong in str(caught.value) and "start:" not in str(caught.value)


@pytest.mark.parametrize("schema, regex", [(None, None), ({}, "a")])
def test_a_grammar_is_a_schema_or_an_expression(schema, regex):
    with pytest.raises(ValueError, match=r"give one$"):
        Grammar(LANGUAGES[0], schema, regex)


def test_an_empty_schema_and_an_empty_expression_are_grammars():
    language = LANGUAGES[0]
    assert set(spelled('{["0t', language)) <= allowed(GrammarState(Grammar(language, {}, None)), language)
    assert babble(language, Grammar(language, None, ""))[1] == ""


def test_a_number_that_json_lacks_is_no_schema():
    with pytest.raises(ValueError, match="not JSON compliant"):
        Grammar(LANGUAGES[0], {"const": float("nan")}, None)


def test_a_dead_end_is_a_sentence_and_not_an_end():
    """A tokenizer that knows the first letter of a word and not the last: llguidance would let the reply end."""
    raw = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(traced_model.SPECIAL)
    constraint = GrammarState(Grammar(ChatTokenizer(raw, traced_model.TEMPLATE, NAMES), None, "a(b|cc)?c"))
    constraint.advance(0)
    constraint.advance(1)
    with pytest.raises(ValueError, match=r"^the reply: no token can follow \(no token of this model fits\)"):
        constraint.mask(np.zeros(5, dtype=np.float32))


def test_a_tokenizer_whose_bytes_cannot_be_told_is_one_sentence():
    raw = traced_model.tokenizer()
    raw.decoder = decoders.WordPiece()
    with pytest.raises(ValueError, match=r"^the tokenizer: can't determine decoder type: .*; a grammar needs "):
        Grammar(ChatTokenizer(raw, traced_model.TEMPLATE, NAMES), None, "a")


def test_a_tokenizer_with_gaps_is_one_sentence():
    """llguidance would take the ids after the gap for tokens that do not exist."""
    raw = Tokenizer(models.BPE({"a": 0, "b": 9}, []))
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(traced_model.SPECIAL)
    with pytest.raises(ValueError, match=r"^the tokenizer: its ids leave gaps up to "):
        Grammar(ChatTokenizer(raw, traced_model.TEMPLATE, NAMES), None, "a")


def test_without_an_end_token_no_grammar_can_end():
    template = traced_model.TEMPLATE.replace("<|im_end|>", "###")
    with pytest.raises(ValueError, match=r"^the tokenizer: no control token ends a reply"):
        Grammar(ChatTokenizer(traced_model.tokenizer(), template, {}), None, "a")


def test_nothing_is_written_beside_the_reply(capfd):
    """llguidance warns on stderr of its own, past Python's."""
    with pytest.raises(ValueError, match="unclosed group"):
        Grammar(LANGUAGES[0], None, "(")
    with pytest.raises(ValueError, match="may not follow"):
        GrammarState(Grammar(LANGUAGES[0], None, "a")).advance(3)
    assert capfd.readouterr() == ("", "")


def test_what_must_follow_is_drafted_without_a_say_in_it():
    tokenizer = LANGUAGES[0]
    state = GrammarState(Grammar(tokenizer, {"type": "object", "properties": {"größe": {"type": "integer"}},
                                             "required": ["größe"], "additionalProperties": False}, None))  # fmt: skip
    drafted = state.draft_tokens()
    assert tokenizer.tokenizer.decode(drafted) == '{"größe"' and state.draft_tokens() == drafted
    for token in tokenizer.tokenizer.encode('{"').ids:
        state.advance(token)
    assert state.draft_tokens() == drafted[2:]
    for token in tokenizer.tokenizer.encode('größe": 1').ids:
        state.advance(token)
    assert state.draft_tokens() == [], "a digit or the end"
