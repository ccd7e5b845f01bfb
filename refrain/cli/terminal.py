"""A model at the terminal: a conversation, a single question, or a question on each line of a file."""

import sys
from collections.abc import Generator, Iterable, Iterator

from refrain.chat.records import Message
from refrain.cli import screen
from refrain.generation.chat_model import ChatModel, stream, truncate_history

HELP = """/reset        forget the conversation, keep the system prompt
/system TEXT  speak under another system prompt from now on; without TEXT under none
/help         this list
/quit         leave, as Ctrl-D does, and Ctrl-C twice; Ctrl-C stops a reply
A pasted text of several lines is one question."""
GREETING = "/help lists the commands, Ctrl-D leaves"
AGAIN = "(Ctrl-C once more leaves, or Ctrl-D)"


def answer_one(model: ChatModel, system: str, question: str) -> Iterator[str]:
    """Pieces of the reply to a question that stands alone."""
    _, ids = truncate_history(model, system, [{"role": "user", "content": question}])
    return with_limit(model, stream(model, ids))


def answer_lines(model: ChatModel, system: str, questions: Iterable[str]) -> Iterator[str]:
    """One line for each question, as if it were the only one; blank for a blank one.

    What a grammar has shaped stays as it is, so only a regular expression with line breaks can make more of it.
    """
    is_shaped = any(model.options.get(name) is not None for name in ("schema", "regex"))
    for question in map(str.strip, questions):
        reply = "".join(answer_one(model, system, question)) if question else ""
        yield reply if is_shaped else " ".join(reply.split())


def chat_loop(model: ChatModel, system: str, origin: str) -> None:
    """A conversation that lasts until /quit, Ctrl-D, or Ctrl-C twice while the person's turn is open."""
    screen.prepare_input()
    if sys.stdout.isatty():
        print(screen.dim(f"{origin}\n{GREETING}"))
    turns: list[Message] = []
    for line in read_questions():
        match line.split(maxsplit=1):
            case ["/quit"]:
                return
            case ["/help"]:
                print(HELP)
            case ["/reset"]:
                turns = []
            case ["/system", *text]:
                system = "".join(text)
            case [word, *_] if word.startswith("/"):
                print(f"{word} is no command; /help lists them")
            case _:
                turns = ask(model, system, turns, line)
    print()


def read_questions() -> Iterator[str]:
    """What is typed or pasted, until Ctrl-D, or Ctrl-C twice in a row."""
    has_pressed = False
    while True:
        try:
            question = screen.read_text("you> ").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            if has_pressed:
                return
            has_pressed = True
            print(f"\n{screen.dim(AGAIN)}")
            continue
        has_pressed = False
        if question:
            yield question


def ask(model: ChatModel, system: str, turns: list[Message], question: str) -> list[Message]:
    """The turns after a question and its reply; without both if it cannot be asked, or is stopped before a word."""
    conversation: list[Message] = [*turns, {"role": "user", "content": question}]
    try:
        remembered, ids = truncate_history(model, system, conversation)
        if len(remembered) < len(conversation):
            count = len(conversation) - len(remembered)
            print(screen.dim(f"(the context is full: the oldest {count} turns are forgotten)"))
        reply = print_stream(with_limit(model, stream(model, ids)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return turns
    except KeyboardInterrupt:
        print()
        return turns
    return [*remembered, {"role": "assistant", "content": reply}]


def with_limit(model: ChatModel, pieces: Generator[str, None, bool]) -> Iterator[str]:
    """The pieces; behind a reply that the model's context has cut, a sentence that says so on stderr."""
    is_cut = yield from pieces
    if is_cut:
        print(
            f"\n(the reply is cut: the model sees {model.context} tokens at once)", end="", file=sys.stderr, flush=True
        )


def print_stream(pieces: Iterable[str]) -> str:
    """Print a reply as it comes, until it ends or Ctrl-C ends it; what was said, or KeyboardInterrupt before a word."""
    reply = ""
    try:
        for piece in pieces:
            reply += piece
            print(screen.show(piece), end="", flush=True)
    except KeyboardInterrupt:
        if not reply:
            raise
    print()
    return reply
