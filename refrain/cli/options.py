"""What is asked of every reply, as options of a command; their defaults are those of sampling.Manner."""

import argparse
import json
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refrain.pipeline import paths

if TYPE_CHECKING:
    from refrain.generation.chat_model import GenerationConfig


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """The model, the system prompt, and everything that `terms` reads."""
    add = parser.add_argument
    add("--model", type=Path, default=paths.ONNX / paths.BEST, metavar="FOLDER", help="default: %(default)s")
    add("--system", default="", metavar="TEXT", help="the system prompt")
    add("--max-new-tokens", type=positive, default=256, metavar="N", help="of a reply, default: %(default)s")
    add("--stop", type=non_empty, nargs="+", action="extend", default=[], metavar="TEXT", help="ends a reply")
    add("--threads", type=positive, metavar="N", help="default: as many as there are cores")
    add_sampling(parser)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How words are chosen and what a reply must be; what is not given changes nothing."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--temperature", type=float, metavar="T", help="above 0, chance decides; else the likeliest token")
    add("--top-k", type=int, metavar="K", help="only the K likeliest tokens")
    add("--top-p", type=float, metavar="P", help="only the likeliest that hold this share")
    add("--min-p", type=float, metavar="P", help="only those that reach this share of the likeliest one's chance")
    add("--repetition-penalty", type=float, metavar="X", help="above 1, against all that was asked and said")
    add("--presence-penalty", type=float, metavar="X", help="above 0, against what was said")
    add("--frequency-penalty", type=float, metavar="X", help="above 0, against what was said, each time it was")
    add("--logit-bias", type=bias, action="append", metavar="ID=VALUE", help="-100, never, to 100, always")
    add("--seed", type=int, metavar="N", help="the same seed and turns get the same reply")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json-schema", type=Path, metavar="FILE", help="replies are JSON that this schema allows")
    form.add_argument("--regex", metavar="PATTERN", help="replies match this from their beginning to their end")


def generation_config(options: argparse.Namespace, logprobs: int = 0) -> "GenerationConfig":
    """What the options of `add_terms` ask for; ValueError when a file does not hold what it should."""
    from refrain.generation import (
        chat_model,  # --help should not wait for ONNX Runtime
        sampling,
    )

    given = {each.name: getattr(options, each.name) for each in fields(sampling.SamplingParams) if each.name in options}
    return chat_model.GenerationConfig(
        sampling=sampling.SamplingParams(**given | {"logit_bias": dict(given.get("logit_bias", []))}),
        schema=schema(options.json_schema),
        regex=options.regex,
        max_new_tokens=options.max_new_tokens,
        stop_strings=tuple(options.stop),
        logprobs=logprobs,
    )


def schema(file: Path | None) -> dict[str, Any] | None:
    """The JSON schema in a file; ValueError if there is none in it."""
    if file is None:
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: it is not JSON ({error}); write a JSON schema into it") from error
    if not isinstance(found, dict):
        raise ValueError(f'{file}: it is no JSON schema; write an object into it, such as {{"type": "object"}}')
    return found


def positive(text: str) -> int:
    """A whole number above 0."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def bias(text: str) -> tuple[int, float]:
    """A token's id and what is added to its logit."""
    number, _, value = text.partition("=")
    return int(number), float(value)


def non_empty(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text would end every reply at once")
    return text
