import json
import os
import signal
import subprocess

import pytest
from command_line import BUFFERED, FOREVER, REFRAIN, SHORT, refrain
from places import ROOT

from refrain.chat import encoding


def test_a_prompt_prints_the_reply_alone(model, said):
    done = refrain("chat", "--model", model, "--prompt", "Qué? 😀", *SHORT, stdin="not read\n")
    assert (done.stdout.decode(), done.stderr, done.returncode) == (said("Qué? 😀") + "\n", b"", 0)


def test_the_system_prompt_is_heard(model, said):
    done = refrain("chat", "--model", model, "--system", "Be kind.", "--prompt", "hello", *SHORT)
    assert done.stdout.decode() == said("hello", system="Be kind.") + "\n" != said("hello") + "\n"


@pytest.mark.parametrize("asked", [[], ["--prompt", "-"]])
def test_each_piped_question_gets_one_line_of_its_own(model, said, asked):
    done = refrain("chat", "--model", model, *SHORT, *asked, stdin="hello\n\nwho?\nhello")
    lines = [" ".join(said(question).split()) for question in ("hello", "who?", "hello")]
    assert done.stdout.decode().split("\n") == [lines[0], "", lines[1], lines[2], ""]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bytes_that_are_no_text_are_asked_as_signs(model, said, locale):
    command = [*REFRAIN, "chat", "--model", model, "--system", b"\xff", *SHORT]
    piped = subprocess.run(
        command, input=b"a\xff\n", capture_output=True, cwd=ROOT, env={**os.environ, "LC_ALL": locale}
    )
    line = " ".join(said("a\ufffd", system="\ufffd").split()) + "\n"
    assert (piped.stdout.decode(), piped.stderr) == (line, b"")


def test_a_stop_string_ends_the_reply(model, said):
    reply = said("hello")
    done = refrain("chat", "--model", model, "--prompt", "hello", *SHORT, "--stop", "never", reply[2:5])
    assert done.stdout.decode() == reply[: reply.index(reply[2:5])] + "\n"


@pytest.mark.heavy
def test_a_seed_repeats_a_sampled_reply(model):
    seeds = [7, 7, 8]
    options = ["chat", "--model", model, "--prompt", "hello", *SHORT, "--temperature", 1, "--seed"]
    first, again, other = (refrain(*options, seed).stdout for seed in seeds)
    assert first == again != other


@pytest.mark.heavy
def test_a_bias_and_a_penalty_change_what_is_said(model, said):
    ask, language = ["chat", "--model", model, "--prompt", "hello"], encoding.load_tokenizer(model)
    letter = said("hello", limit=1)
    [number] = language.tokenizer.encode(letter).ids
    spoken = refrain(*ask, *SHORT, "--logit-bias", f"{number}=-100").stdout.decode()
    assert spoken != said("hello") + "\n" and letter not in spoken
    assert refrain(*ask, "--max-new-tokens", 3, "--logit-bias", f"{number}=100").stdout.decode() == letter * 3 + "\n"
    once = refrain(*ask, "--max-new-tokens", 40, "--repetition-penalty", 100).stdout.decode()[:-1]
    once = once.replace("\ufffd", "")  # a byte that is no letter by itself
    assert len(set(once)) == len(once) > 10 and set(once).isdisjoint("user\nhelloassistant\n")


SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["😀  ", "sad"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("sampled", [[], ["--temperature", "2", "--seed", "3"]])
def test_a_json_schema_is_kept_in_each_line(model, tmp_path, sampled):
    (tmp_path / "mood.json").write_text(json.dumps(SCHEMA))
    command = ["chat", "--model", model, "--json-schema", tmp_path / "mood.json", *sampled]
    done = refrain(*command, stdin="hello\n\nwho?\n")
    first, blank, second = done.stdout.decode().splitlines()
    for line in (first, second):
        found = json.loads(line)
        assert found["mood"] in ("😀  ", "sad") and found["sure"] in (True, False) and len(found) == 2
    assert (blank, done.stderr, done.returncode) == ("", b"", 0)
    assert "😀  " in done.stdout.decode() or sampled, "two blanks stay two"


def test_a_regular_expression_is_kept(model, said):
    done = refrain("chat", "--model", model, "--prompt", "hello", "--regex", "yes|no|(é😀){2}")
    assert done.stdout.decode() in ("yes\n", "no\n", "é😀é😀\n") and done.stderr == b""


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    done = refrain("chat", "--model", tmp_path / "nowhere", "--prompt", "hello")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"/nowhere: there is no such folder; " in done.stderr and b"models/onnx/best" in done.stderr


def test_ctrl_c_during_a_single_reply_ends_the_command_quietly(endless):
    command = [*REFRAIN, "chat", "--model", endless, "--prompt", "hello", *FOREVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        program.stdout.read(1)
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate(timeout=120)
    assert (program.returncode, complaint) == (130, b"")


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(endless):
    command = [*REFRAIN, "chat", "--model", endless, "--prompt", "hello", *FOREVER]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=BUFFERED, **pipes) as program:
        program.stdout.read(1)
        program.stdout.close()
        complaint = program.stderr.read()
    assert (program.returncode, complaint) == (1, b"")
