import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest
import traced_model
from places import ROOT

from refrain.chat import encoding
from refrain.cli import main, options, terminal
from refrain.generation import sampling
from refrain.pipeline import manifest
from refrain.runtime import language_model, loading
from refrain.training import checkpoints

REFRAIN = [sys.executable, "-m", "refrain.cli.main"]
FOREVER = ["--max-new-tokens", "1000000"]
SHORT = ["--max-new-tokens", "12"]


@pytest.fixture(autouse=True)
def interruptible():
    """A shell starts its background jobs deaf to Ctrl-C, and what they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return traced_model.build(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def endless(model, tmp_path_factory):
    """The model with a context so large that no reply of it comes to an end."""
    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 10**7}))
    return folder


@pytest.fixture(scope="module")
def said(model):
    """What the model must say, found without a stream: said("question", "reply", "next question")."""
    session, language = loading.load_model(model, threads=1), encoding.load_tokenizer(model)

    def reply(*turns, system=None, limit=12):
        roles = ["user", "assistant"] * len(turns)
        messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
        messages = [{"role": "system", "content": system}] * bool(system) + messages
        [ids] = language_model.greedy_decode(
            session, [encoding.encode_prompt(language, messages)], limit, language.stop_ids
        )
        return language.tokenizer.decode(ids).rstrip("\ufffd")  # a last character that was cut short

    return reply


def refrain(*arguments, stdin=""):
    """Run the command with questions on stdin."""
    command = [*REFRAIN, *map(str, arguments)]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, cwd=ROOT)


class Person:
    """Someone at a terminal, who waits for what they read before they type."""

    def __init__(self, *arguments):
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            screen = {"TERM": "dumb", "COLUMNS": "1000"}  # no colours, no scrolling
            os.execve(sys.executable, [*REFRAIN, "chat", *map(str, arguments)], os.environ | screen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.terminal)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def waits(self, seconds):
        """Whether something comes within some seconds."""
        return bool(select.select([self.terminal], [], [], seconds)[0])

    def watches(self):
        """What comes next; nothing when the program has left."""
        assert self.waits(30), f"nothing came after {self.seen!r}"
        try:
            return os.read(self.terminal, 65536)
        except OSError:  # how Linux says that the other side has closed
            return b""

    def reads(self, text):
        """What comes before `text`, once `text` has come."""
        while text not in self.seen:
            self.seen += (more := self.watches())
            assert more, f"{text!r} never came after {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def types(self, text):
        os.write(self.terminal, text)

    def asks(self, question):
        """The reply to a question typed at the prompt."""
        self.reads(b"you> ")
        self.types(question.encode() + b"\n")
        self.reads(question.encode())
        reply = self.reads(b"\r\nyou> ")
        self.seen = b"you> " + self.seen
        return reply.decode().replace("\r\n", "\n").removeprefix("\n")

    def leaves(self, key):
        """The exit code after a key that ends the program, and what was on the screen until then."""
        self.types(key)
        while key == b"\x03" and not self.waits(2):
            self.types(key)  # CPython overlooks a Ctrl-C in the instant before readline waits
        while more := self.watches():
            self.seen += more
        self.pid, status = 0, os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(status), self.seen


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


def test_a_stop_string_ends_the_reply(model, said):
    reply = said("hello")
    done = refrain("chat", "--model", model, "--prompt", "hello", *SHORT, "--stop", "never", reply[2:5])
    assert done.stdout.decode() == reply[: reply.index(reply[2:5])] + "\n"


def test_a_seed_repeats_a_sampled_reply(model):
    seeds = [7, 7, 8]
    options = ["chat", "--model", model, "--prompt", "hello", *SHORT, "--temperature", 1, "--seed"]
    first, again, other = (refrain(*options, seed).stdout for seed in seeds)
    assert first == again != other


def test_every_option_of_sampling_arrives_and_none_changes_nothing():
    bare = main.build_parser().parse_args(["chat"])
    assert options.generation_config(bare).sampling == sampling.SamplingParams()
    wanted = {
        **{"temperature": 0.5, "top_k": 2, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.5},
        **{"presence_penalty": -1.0, "frequency_penalty": 0.25, "logit_bias": {5: -100.0, 7: 3.5}, "seed": 4},
    }
    command = ["--logit-bias", "5=-100", "--logit-bias", "7=3.5"]
    for name, value in wanted.items():
        command += [] if name == "logit_bias" else ["--" + name.replace("_", "-"), str(value)]
    assert asdict(options.generation_config(main.build_parser().parse_args(["chat", *command])).sampling) == wanted


def test_a_bias_and_a_penalty_change_what_is_said(model, said):
    ask, language = ["chat", "--model", model, "--prompt", "hello"], encoding.load_tokenizer(model)
    letter = said("hello", limit=1)
    [number] = language.tokenizer.encode(letter).ids
    spoken = refrain(*ask, *SHORT, "--logit-bias", f"{number}=-100").stdout.decode()
    assert spoken != said("hello") + "\n" and letter not in spoken
    assert refrain(*ask, "--max-new-tokens", 3, "--logit-bias", f"{number}=100").stdout.decode() == letter * 3 + "\n"
    once = refrain(*ask, "--max-new-tokens", 40, "--repetition-penalty", 1e6).stdout.decode()[:-1]
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


def test_a_conversation_under_a_grammar_remembers(model):
    with Person("--model", model, "--regex", "[a-z]{3}") as person:
        replies = [person.asks("hello"), person.asks("and?")]
        assert all(len(reply) == 3 and reply.islower() for reply in replies)
        assert person.leaves(b"/quit\n")[0] == 0


@pytest.mark.parametrize("content, message", [
    ("{", b"it is not JSON"), ("[]", b"it is no JSON schema"), ('{"type": "rune"}', b"the JSON schema: Invalid type"),
])  # fmt: skip
def test_a_file_that_holds_no_schema_is_one_sentence(model, tmp_path, content, message):
    (tmp_path / "wrong.json").write_text(content)
    done = refrain("chat", "--model", model, "--prompt", "hello", "--json-schema", tmp_path / "wrong.json")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert message in done.stderr


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    done = refrain("chat", "--model", tmp_path / "nowhere", "--prompt", "hello")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"`dvc pull models/onnx`" in done.stderr and b"`dvc repro`" in done.stderr


@pytest.mark.parametrize("options, message", [
    (["--top-p", "2"], b"refrain: top_p: 2.0 "),
    (["--seed", "-1"], b"refrain: seed: -1 "),
    (["--min-p", "nan"], b"refrain: min_p: nan "),
    (["--logit-bias", "259=1"], b"refrain: logit_bias: there is no token 259; the model's ids go from 0 to 258"),
    (["--regex", "("], b"refrain: the regular expression: unclosed group; "),
    (["--json-schema", "nowhere.json"], b"refrain: [Errno 2] "),
    (["--prompt", "long " * 60], b"refrain: the question: "),
])  # fmt: skip
def test_impossible_wishes_are_one_sentence(model, options, message):
    done = refrain("chat", "--model", model, "--prompt", "hello", *options)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("options", [
    ["--stop", ""], ["--max-new-tokens", "0"], ["--threads", "two"], ["--logit-bias", "5"], ["--logit-bias", "a=1"],
    ["--regex", "a", "--json-schema", "b"],
])  # fmt: skip
def test_values_that_mean_nothing_are_refused_before_a_model_is_opened(options):
    done = refrain("chat", "--model", "nowhere", *options)
    assert done.returncode == 2 and options[0].encode() in done.stderr


def test_ctrl_c_during_a_single_reply_ends_the_command_quietly(endless):
    command = [*REFRAIN, "chat", "--model", endless, "--prompt", "hello", *FOREVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        program.stdout.read(1)
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate(timeout=30)
    assert (program.returncode, complaint) == (130, b"")


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(endless):
    command = [*REFRAIN, "chat", "--model", endless, "--prompt", "hello", *FOREVER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        program.stdout.read(1)
        program.stdout.close()
        complaint = program.stderr.read()
    assert (program.returncode, complaint) == (1, b"")


def test_a_conversation_remembers_until_it_is_told_to_forget(model, said):
    with Person("--model", model, *SHORT) as person:
        first = said("hello")
        assert person.asks("hello") == first
        assert person.asks(" ") == "", "a blank line is no question"
        assert person.asks("and?") == said("hello", first, "and?") != said("and?")
        assert person.asks("/reset") == ""
        assert person.asks("and?") == said("and?")
        assert person.leaves(b"/quit\n")[0] == 0


def test_the_system_prompt_can_be_changed_on_the_way(model, said):
    with Person("--model", model, *SHORT) as person:
        person.asks("/system Be  kind.")
        first = said("hello", system="Be  kind.")
        assert person.asks("hello") == first
        person.asks("/system")
        assert person.asks("more") == said("hello", first, "more")
        assert person.leaves(b"\x04")[0] == 0, "Ctrl-D leaves"


def test_help_lists_every_command_and_strangers_are_named(model):
    with Person("--model", model) as person:
        listed = person.asks("/help")
        assert all(f"{command} " in listed for command in ("/reset", "/system", "/help", "/quit"))
        assert person.asks("/halp") == "/halp is no command; /help lists them"


def test_ctrl_c_at_the_prompt_leaves(model):
    with Person("--model", model) as person:
        person.reads(b"you> ")
        assert person.leaves(b"\x03") == (0, b"\r\n")


def test_a_line_can_be_recalled(model):
    with Person("--model", model, *SHORT) as person:
        person.asks("hello")
        person.reads(b"you> ")
        person.types(b"\x10\n")  # Ctrl-P
        assert person.reads(b"\r\n") == b"hello"


def test_at_a_terminal_a_dash_also_asks_for_plain_lines(model, said):
    with Person("--model", model, "--prompt", "-", *SHORT) as person:
        person.types(b"hello\n")
        assert person.reads(b"\r\n") == b"hello", "what was typed, and no prompt before it"
        assert person.reads(b"\r\n").decode() == " ".join(said("hello").split())
        assert person.leaves(b"\x04")[0] == 0


def test_ctrl_c_ends_the_reply_and_not_the_conversation(endless):
    with Person("--model", endless, *FOREVER) as person:
        person.reads(b"you> ")
        person.types(b"hello\n")
        person.reads(b"hello\r\n")
        person.seen = person.seen or person.watches()
        person.types(b"\x03")
        person.reads(b"\nyou> ")
        code, screen = person.leaves(b"/quit\n")
        assert code == 0 and b"Traceback" not in screen


def test_what_was_said_before_ctrl_c_stays(capsys):
    def interrupted():
        yield "Once upon"
        yield " a time"
        raise KeyboardInterrupt

    assert terminal.print_stream(interrupted()) == "Once upon a time"
    assert capsys.readouterr().out == "Once upon a time\n"


def test_a_full_context_forgets_the_oldest_turns_but_not_the_system_prompt(model, said):
    with Person("--model", model, "--system", "Be kind.", *SHORT) as person:
        person.asks("a" * 90)
        notice, _, reply = person.asks("b" * 90).partition("\n")
        assert notice == "(the context is full: the oldest 2 turns are forgotten)"
        assert reply == said("b" * 90, system="Be kind.")
        assert person.asks("c" * 300).startswith("the question: ")
        assert person.asks("d") == said("b" * 90, reply, "d", system="Be kind."), "c was not asked"


def test_a_whole_folder_is_called_whole(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    assert main.main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "OK, 1 files match\n"


def test_a_bad_file_is_named(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(tmp_path, {})
    (tmp_path / "model.onnx").write_bytes(b"abd")
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "model.onnx: checksum mismatch\n"


def test_a_folder_without_a_manifest_is_one_sentence(tmp_path, capsys):
    assert main.main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"refrain: {tmp_path}/manifest.json: ")


def loaded(code):
    """The modules that are there after some code has run in a fresh interpreter."""
    code += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


HEAVY = {"numpy", "onnxruntime", "tokenizers", "jinja2", "llguidance", "onnx", "matplotlib", "dvc", "torch"}


def test_help_waits_for_nothing_heavy():
    modules = loaded("from refrain.cli import main; main.build_parser().format_help()")
    assert "refrain.cli.main" in modules and not HEAVY & set(modules)


def test_talking_needs_neither_torch_nor_transformers():
    modules = loaded(
        "from refrain.cli import generate, main, terminal; from refrain.generation import grammar;"
        "from refrain.pipeline import manifest; from refrain.runtime import loading"
    )
    assert "refrain.cli.terminal" in modules and not {"torch", "transformers", "optimum", "onnx"} & set(modules)


def test_clean_removes_what_a_stopped_training_left_and_says_how_much(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), checkpoints.exclusive_folder("stopped") as folder:
        (folder / "weights").write_bytes(bytes(1_200_000))
        raise KeyboardInterrupt
    assert (main.main(["clean"]), capsys.readouterr().out) == (0, "1.2 MB of checkpoints removed\n")
    assert (main.main(["clean"]), capsys.readouterr().out) == (0, "0.0 MB of checkpoints removed\n")
