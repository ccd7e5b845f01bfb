"""A model at the terminal: a conversation, a single question, or a question on each line of a file."""

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

from refrain.chat.records import Message
from refrain.generation.chat_model import ChatModel, stream, truncate_history

HELP = """/reset        forget the conversation, keep the system prompt
/system TEXT  speak under another system prompt from now on; without TEXT under none
/help         this list
/quit         leave, as Ctrl-D does; Ctrl-C stops a reply"""


def answer_one(model: ChatModel, system: str, question: str) -> Iterator[str]:
    """Pieces of the reply to a question that stands alone."""
    _, ids = truncate_history(model, system, [{"role": "user", "content": question}])
    return with_limit(model, stream(model, ids))


def answer_lines(model: ChatModel, system: str, questions: Iterable[str]) -> Iterator[str]:
    """One line for each question, as if it were the only one; blank for a blank one.

    What a grammar has shaped stays as it is, so only a regular expression with line breaks can make more of it.
    """
    for question in map(str.strip, questions):
        reply = "".join(answer_one(model, system, question)) if question else ""
        yield reply if model.grammar else " ".join(reply.split())


def chat_loop(model: ChatModel, system: str) -> None:
    """A conversation that lasts until /quit, Ctrl-D, or Ctrl-C while the person's turn is open."""
    with suppress(ImportError):  # there is none on Windows
        import readline  # noqa: F401 - gives input() its history; imported late, for it may write to the terminal
    turns: list[Message] = []
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            line = input("you> ").strip()
            match line.split(maxsplit=1):
                case []:
                    continue
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


def ask(model: ChatModel, system: str, turns: list[Message], question: str) -> list[Message]:
    """The turns after a question and its reply; without both, and with a sentence, if it cannot be asked."""
    conversation: list[Message] = [*turns, {"role": "user", "content": question}]
    try:
        remembered, ids = truncate_history(model, system, conversation)
    except ValueError as error:
        print(error, file=sys.stderr)
        return turns
    if len(remembered) < len(conversation):
        print(f"(the context is full: the oldest {len(conversation) - len(remembered)} turns are forgotten)")
    return [*remembered, {"role": "assistant", "content": print_stream(with_limit(model, stream(model, ids)))}]


def with_limit(model: ChatModel, pieces: Generator[str, None, bool]) -> Iterator[str]:
    """The pieces; behind a reply that the model's context has cut, a sentence that says so on stderr."""
    is_cut = yield from pieces
    if is_cut:
        print(
            f"\n(the reply is cut: the model sees {model.context} tokens at once)", end="", file=sys.stderr, flush=True
        )


def print_stream(pieces: Iterable[str]) -> str:
    """Print a reply as it comes, until it ends or Ctrl-C ends it; what was said."""
    reply = ""
    with suppress(KeyboardInterrupt):
        for piece in pieces:
            reply += piece
            print(piece, end="", flush=True)
    print()
    return reply
