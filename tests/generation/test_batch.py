"""`refrain generate`: a reply to every line, in their order, each as if it were alone."""

import json

import pytest

from refrain.chat import encoding, records
from refrain.cli import main
from refrain.runtime import detokenizer, language_model, loading

ASKED = ["hello 🙂", "the user", "não, the assistant there", "hello the user and the assistant", "?", "hello 🙂 again"]
LIMIT = 12


@pytest.fixture
def generate(onnx, tmp_path, capsys):
    """A function that runs the command on rows, and gives its exit code, results and stderr."""

    def run(rows, *options):
        file = tmp_path / "prompts.jsonl"
        file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        given = ["--model", str(onnx / "fp32"), "--input", str(file), "--max-new-tokens", str(LIMIT), "--threads", "1"]
        code = main.main(["generate", *given, *options])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def said(folder, question):
    """What the model must say, found one token after the other."""
    talk = encoding.load_tokenizer(folder)
    prompt = encoding.encode_prompt(talk, [{"role": "user", "content": question}])
    ids = language_model.greedy_decode(loading.load_model(folder, 1), [prompt], LIMIT, talk.stop_ids)[0]
    return "".join(detokenizer.detokenize(ids, talk.tokenizer, talk.stop_strings))


@pytest.mark.parametrize("batch", ["1", "2", "8"])
def test_every_row_gets_its_own_reply_in_the_order_of_the_rows(batch, generate, onnx):
    code, results, err = generate([{"prompt": text} for text in ASKED], "--batch", batch)
    assert (code, err) == (0, "")
    assert [row["id"] for row in results] == [1, 2, 3, 4, 5, 6]
    assert [row["reply"] for row in results] == [said(onnx / "fp32", text) for text in ASKED]
    assert {row["reason"] for row in results} <= {"end", "length"} and len({row["reply"] for row in results}) > 1


def test_rows_are_prompts_or_messages_with_ids_of_any_kind(generate):
    turns = [{"role": "user", "content": "hello 🙂"}]
    rows = [{"prompt": "hello 🙂", "id": "a"}, "", {"messages": turns, "id": 7}, {"messages": turns}]
    _, results, _ = generate(rows)
    assert [row["id"] for row in results] == ["a", 7, 4] and len({row["reply"] for row in results}) == 1


def test_the_system_prompt_is_put_before_rows_that_have_none(generate):
    own = [{"role": "system", "content": "the assistant"}, {"role": "user", "content": "hello"}]
    _, (given, had), _ = generate([{"prompt": "hello"}, {"messages": own}], "--system", "the assistant")
    _, (without,), _ = generate([{"prompt": "hello"}])
    assert given["reply"] == had["reply"] != without["reply"]


@pytest.mark.parametrize("beams", ["1", "2"])
def test_a_prompt_that_is_too_long_loses_no_other(generate, beams):
    rows = [{"prompt": "hello"}, {"prompt": "the user " * 400}, {"prompt": "hello"}]
    _, results, _ = generate(rows, "--beams", beams)
    assert [row["reason"] == "too long" for row in results] == [False, True, False]
    assert results[1]["reply"] == "" and results[0]["reply"] == results[2]["reply"]


def test_the_same_seed_says_the_same_alone_and_in_a_batch(generate):
    rows = [{"prompt": text} for text in ASKED]
    runs = [generate(rows, "--temperature", "2", "--seed", "5", "--batch", batch)[1] for batch in ("1", "3", "6")]
    assert runs[0] == runs[1] == runs[2]
    assert generate(rows, "--temperature", "2", "--seed", "6")[1] != runs[0]


def test_replies_are_held_to_a_schema(generate, tmp_path):
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, '
                                          '"required": ["a"], "additionalProperties": false}')  # fmt: skip
    _, results, _ = generate(
        [{"prompt": text} for text in ASKED],
        *["--json-schema", str(tmp_path / "schema.json"), "--max-new-tokens", "40"],
    )
    assert {json.loads(row["reply"])["a"] for row in results} <= {"x", "y"}


def test_log_probabilities_name_the_tokens(generate):
    _, (row,), _ = generate([{"prompt": "hello 🙂"}], "--logprobs", "3")
    assert len(row["logprobs"]) == row["tokens"]
    for step in row["logprobs"]:
        chances = list(step["top"].values())
        assert next(iter(step["top"])) == step["token"] and chances == sorted(chances, reverse=True)


def test_drafts_change_no_reply_and_beams_give_their_own_kind(generate):
    rows = [{"prompt": text} for text in ASKED]
    plain = generate(rows, "--batch", "1")[1]
    assert generate(rows, "--batch", "3", "--prompt-lookup-num-tokens", "5")[1] == plain
    beamed = generate(rows, "--beams", "3")[1]
    assert [row["id"] for row in beamed] == [row["id"] for row in plain] and all(row["score"] <= 0 for row in beamed)
    code, _, err = generate(rows, "--beams", "3", "--prompt-lookup-num-tokens", "5")
    assert code == 1 and err.startswith("refrain: --beams: ")


BAD = [
    "{",
    '{"question": "hello"}',
    '{"prompt": "a", "tools": [{"name": "rain"}]}',
    '{"prompt": "\\ud800"}',
    "[" * 9**5,
]


def test_bad_lines_go_into_a_file_beside_the_replies_and_the_others_are_answered(generate, tmp_path):
    rows, replies, quarantine = [{"prompt": "hello"}, *BAD, {"prompt": "hello"}], *make_places(tmp_path)
    code, printed, err = generate(rows, "--output", str(replies))
    assert (code, printed, [row["id"] for row in records.read_rows(replies)]) == (3, [], [1, 7])
    assert err == (f"refrain: {tmp_path}/prompts.jsonl: 5 of 7 lines ask nothing and are not answered; {quarantine} "
                   "holds them with the reason of each\n")  # fmt: skip
    kept = records.read_rows(quarantine)
    assert [row["text"] for row in kept] == BAD and [row["line"] for row in kept] == [2, 3, 4, 5, 6]
    assert all(row["reason"] for row in kept)
    code, _, err = generate([{"prompt": "hello"}], "--output", str(replies))
    assert (code, err, quarantine.exists()) == (0, "", False), "that of an earlier run is not left"


def make_places(folder):
    return folder / "replies.jsonl", folder / "replies.quarantine.jsonl"


def test_without_a_file_bad_lines_are_named_on_stderr(generate, tmp_path):
    code, results, err = generate(["{", {"prompt": "hello"}])
    assert (code, [row["id"] for row in results], err.count("\n")) == (3, [2], 2)
    assert err.startswith(f"refrain: {tmp_path}/prompts.jsonl:1: it is not JSON (")
    assert generate([])[::2] == (0, f"refrain: {tmp_path}/prompts.jsonl: there is no line to answer\n")


def test_the_prompts_are_not_overwritten_by_the_replies(generate, tmp_path):
    code, _, err = generate([{"prompt": "hello"}], "--output", str(tmp_path / "prompts.jsonl"))
    assert code == 1 and "prompts.jsonl is the input too; name another file" in err
    assert records.read_rows(tmp_path / "prompts.jsonl") == [{"prompt": "hello"}]
