import os
import pty
import select
import signal
import sys

import pytest
from command_line import FOREVER, REFRAIN, SHORT
from places import ROOT

from refrain.chat.control_characters import escape_controls
from refrain.cli import terminal
from refrain.generation import chat_model


class Person:
    """Someone at a terminal, who waits for what they read before they type."""

    def __init__(self, *arguments, **variables):
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            screen = {"TERM": "dumb", "COLUMNS": "1000", "NO_COLOR": ""}  # no colours, no scrolling
            os.execve(sys.executable, [*REFRAIN, "chat", *map(str, arguments)], os.environ | screen | variables)

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

    def interrupts(self, text):
        """Ctrl-C, and what comes after it once `text` has come."""
        self.types(b"\x03")
        while not self.waits(2):
            self.types(b"\x03")  # CPython overlooks a Ctrl-C in the instant before readline waits
        return self.reads(text)

    def leaves(self, key):
        """The exit code after a key that ends the program, and what was on the screen until then."""
        self.types(key)
        while key == b"\x03" and not self.waits(2):
            self.types(key)  # CPython overlooks a Ctrl-C in the instant before readline waits
        while more := self.watches():
            self.seen += more
        self.pid, status = 0, os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(status), self.seen


def test_a_conversation_under_a_grammar_remembers(model):
    with Person("--model", model, "--regex", "[a-z]{3}") as person:
        replies = [person.asks("hello"), person.asks("and?")]
        assert all(len(reply) == 3 and reply.islower() for reply in replies)
        assert person.leaves(b"/quit\n")[0] == 0


def test_a_conversation_remembers_until_it_is_told_to_forget(model, said, shown):
    with Person("--model", model, *SHORT) as person:
        first = said("hello")
        assert person.asks("hello") == escape_controls(first)
        assert person.asks(" ") == "", "a blank line is no question"
        assert person.asks("and?") == shown("hello", first, "and?") != shown("and?")
        assert person.asks("/reset") == ""
        assert person.asks("and?") == shown("and?")
        assert person.leaves(b"/quit\n")[0] == 0


def test_the_system_prompt_can_be_changed_on_the_way(model, said, shown):
    with Person("--model", model, *SHORT) as person:
        person.asks("/system Be  kind.")
        first = said("hello", system="Be  kind.")
        assert person.asks("hello") == escape_controls(first)
        person.asks("/system")
        assert person.asks("more") == shown("hello", first, "more")
        assert person.leaves(b"\x04")[0] == 0, "Ctrl-D leaves"


def test_help_lists_every_command_and_strangers_are_named(model):
    with Person("--model", model) as person:
        listed = person.asks("/help")
        assert all(f"{command} " in listed for command in ("/reset", "/system", "/help", "/quit"))
        assert person.asks("/halp") == "/halp is no command; /help lists them"


def test_ctrl_c_at_the_prompt_asks_once_and_a_question_between_begins_anew(model, shown):
    with Person("--model", model, *SHORT) as person:
        person.reads(b"you> ")
        for _ in range(2):
            person.interrupts(b"(Ctrl-C once more leaves, or Ctrl-D)\r\nyou> ")
            person.seen = b"you> "
            assert person.asks("hello") == shown("hello"), "nothing of it was asked"
            person.asks("/reset")
            person.reads(b"you> ")
        person.interrupts(b"or Ctrl-D)\r\nyou> ")
        assert person.leaves(b"\x03")[0] == 0


def test_a_greeting_says_which_model_answers(model):
    with Person("--model", model) as person:
        assert person.reads(b"you> ").decode() == f"{model}\r\n{terminal.GREETING}\r\n"


@pytest.mark.parametrize("colour", [True, False])
def test_colours_are_there_unless_they_are_not_wanted(model, colour):
    with Person("--model", model, TERM="xterm", NO_COLOR="" if colour else "1") as person:
        greeting = person.reads(b"leaves")
        assert (b"\x1b[2m" in greeting) == colour
        person.reads(b"you> ")
        assert person.leaves(b"\x04")[0] == 0
        assert (b"\x1b[0m" in person.seen) == colour


PASTED = "one\r\r  two é😀\rthree"


@pytest.mark.parametrize("paste, term", [(f"\x1b[200~{PASTED}\x1b[201~\r", "xterm"), (f"{PASTED}\r", "dumb")])
def test_a_pasted_text_of_several_lines_is_one_question(model, said, paste, term, shown):
    with Person("--model", model, *SHORT, TERM=term, NO_COLOR="1") as person:
        person.reads(b"you> ")
        person.types(paste.encode())
        person.reads(b"three")
        question = PASTED.replace("\r", "\n")
        reply = said(question)
        person.reads(shown(question).encode().replace(b"\n", b"\r\n"))
        person.reads(b"you> ")
        person.types(b"and?\n")
        person.reads(shown(question, reply, "and?").encode().replace(b"\n", b"\r\n"))


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
        assert person.reads(b"\r\n").decode() == escape_controls(" ".join(said("hello").split()))
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
    def stream_until_interrupt():
        yield "Once upon"
        yield " a time"
        raise KeyboardInterrupt

    assert terminal.print_stream(stream_until_interrupt()) == "Once upon a time"
    assert capsys.readouterr().out == "Once upon a time\n"


def test_a_reply_that_is_stopped_before_a_word_was_never_asked_for(model, monkeypatch):
    talk = chat_model.load(model, {"max_tokens": 9}, threads=1)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    engine = talk.model._engine
    monkeypatch.setattr(engine, "advance", lambda reply: os.kill(os.getpid(), signal.SIGINT))
    assert terminal.ask(talk, "", turns, "hello") == turns and engine._waiting[0].is_cancelled


def test_a_full_context_forgets_the_oldest_turns_but_not_the_system_prompt(model, said, shown):
    with Person("--model", model, "--system", "Be kind.", *SHORT) as person:
        person.asks("a" * 90)
        notice, _, reply = person.asks("b" * 90).partition("\n")
        assert notice == "(the context is full: the oldest 2 turns are forgotten)"
        assert reply == shown("b" * 90, system="Be kind.")
        assert person.asks("c" * 300).startswith("the question: ")
        assert person.asks("d") == shown("b" * 90, said("b" * 90, system="Be kind."), "d", system="Be kind."), (
            "c was not asked"
        )


def test_a_reply_that_the_context_cuts_says_so(model, capsys):
    for limit, sentence in ((10**6, "\n(the reply is cut: the model sees {} tokens at once)"), (3, "")):
        talk = chat_model.load(model, {"max_tokens": limit}, threads=1)
        assert "".join(terminal.answer_one(talk, "", "hello"))
        assert capsys.readouterr().err == sentence.format(talk.context)
