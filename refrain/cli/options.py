"""How replies are generated, as options of a command; their defaults are those of sampling.SamplingParams."""

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refrain.cli.repository import typed_model, typed_path
from refrain.pipeline import paths

if TYPE_CHECKING:
    from refrain.generation.options import Options


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """The model, the system prompt, and everything that `generation_options` reads."""
    add = parser.add_argument
    add("--model", type=typed_model, default=paths.ONNX / paths.BEST, metavar="FOLDER", help="default: %(default)s")
    add("--system", type=plain_text, default="", metavar="TEXT", help="the system prompt")
    add(
        "--max-new-tokens",
        type=positive_int,
        default=256,
        metavar="N",
        help="tokens of a reply at most, default: %(default)s",
    )
    add(
        "--stop",
        type=non_empty,
        nargs="+",
        action="extend",
        default=[],
        metavar="TEXT",
        help="stop strings: text that ends a reply",
    )
    add("--threads", type=positive_int, metavar="N", help="default: as many as there are cores")
    add(
        "--prompt-lookup-num-tokens",
        type=whole_number,
        default=0,
        metavar="N",
        help="draft what repeats prompt or reply, up to N tokens a step: the same reply sooner; 0, the default: none",
    )
    add_sampling_options(parser)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """How tokens are sampled and what a reply must match; what is not given changes nothing."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--temperature", type=float, metavar="T", help="sampling above 0; at 0, the default, greedy decoding")
    add("--top-k", type=int, metavar="K", help="sample from the K likeliest tokens")
    add(
        "--top-p",
        type=float,
        metavar="P",
        help="nucleus sampling: the likeliest tokens whose probabilities add up to P",
    )
    add("--min-p", type=float, metavar="P", help="drop tokens less likely than P times the likeliest one")
    add("--repetition-penalty", type=float, metavar="X", help="above 1, against tokens of prompt and reply")
    add("--presence-penalty", type=float, metavar="X", help="above 0, against tokens of the reply")
    add("--frequency-penalty", type=float, metavar="X", help="above 0, against tokens of the reply, by count")
    add(
        "--logit-bias",
        type=logit_bias,
        action="append",
        metavar="ID=VALUE",
        help="added to the logit of a token: -100, never, to 100, always",
    )
    add("--seed", type=int, metavar="N", help="the same seed and turns give the same reply")
    constraint = parser.add_mutually_exclusive_group()
    constraint.add_argument(
        "--json-schema", type=typed_path, metavar="FILE", help="replies are JSON that matches this schema"
    )
    constraint.add_argument("--regex", metavar="PATTERN", help="replies match this regular expression as a whole")


def start_few_threads() -> None:
    """To be called before NumPy loads: OpenBLAS would start a thread for each core, and no reply needs one of them."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def generation_options(options: argparse.Namespace, logprobs: int | None = None) -> "Options":
    """What the options of `add_generation_options` ask for; ValueError when a file does not hold what it should.

    Without a seed it is always the same, so that a command that is typed again says the same again.
    """
    from dataclasses import fields  # --help should wait neither for this nor for NumPy

    from refrain.generation import sampling

    names = {field.name for field in fields(sampling.SamplingParams)}
    given: dict[str, Any] = {name: value for name, value in vars(options).items() if name in names}
    values = {
        "seed": sampling.SamplingParams.seed,
        **given,
        "logit_bias": dict(given.get("logit_bias", [])),
        "schema": read_json_schema(options.json_schema),
        "regex": options.regex,
        "max_tokens": options.max_new_tokens,
        "stop": options.stop,
        "logprobs": logprobs,
    }
    return cast("Options", values)


def read_json_schema(file: Path | None) -> dict[str, Any] | None:
    """The JSON schema in a file; ValueError if there is none in it."""
    if file is None:
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: it is not JSON ({error}); write a JSON schema into it") from error
    if not isinstance(value, dict):
        raise ValueError(f'{file}: it is no JSON schema; write an object into it, such as {{"type": "object"}}')
    return value


def positive_int(text: str) -> int:
    """A whole number above 0."""
    if (number := read_integer(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def whole_number(text: str) -> int:
    """0 or more."""
    if (number := read_integer(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def read_integer(text: str) -> int:
    """A number without a fraction, in digits."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error


def logit_bias(text: str) -> tuple[int, float]:
    """A token's id and what is added to its logit."""
    number, _, value = text.partition("=")
    return int(number), float(value)


def plain_text(text: str) -> str:
    """A text with a sign in place of each byte that is no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def non_empty(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text would end every reply at once")
    return plain_text(text)
