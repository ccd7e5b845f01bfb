"""Functions for workers to apply, each with a fault or a habit of its own."""

import os
import signal
from dataclasses import dataclass
from functools import cache
from threading import Event

from refrain.data.parallel import process_pool  # noqa: F401 - for code that is run from a string


@dataclass(frozen=True)
class Said:
    """Something that no table can hold as it is: a tuple, half of a surrogate pair, keys that are numbers."""

    prefix: str

    def __call__(self, item):
        number, text = item
        if number is None:
            raise ValueError("some.jsonl: a row has no number")
        return self.prefix, {number: [text * 1000, None]}, os.environ.get("TOKENIZERS_PARALLELISM")


def process(_):
    return os.getpid()


@cache
def load(name):
    return name, os.getpid(), os.urandom(8)


def loaded(_):
    return load("tokenizer")


def refuse(item):
    if item == 5:
        raise ValueError("some.jsonl: line 5 is not right; correct it")
    return item


def stumble(item):
    return {}[item]


def die(item):
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def interrupt(item):
    os.kill(os.getpid(), signal.SIGINT)
    return item


def write_pid():
    """In one piece: others write a line to the same pipe at the same time."""
    os.write(1, f"{os.getpid()}\n".encode())


def told():
    """Items, with a line once both workers have begun: while Python starts one, it may swallow an interruption."""
    for item in range(9):
        if item == 3:
            write_pid()
        yield item


def wait_for_ever(_):
    write_pid()
    Event().wait()


def large(_):
    return "x" * 5_000_000
