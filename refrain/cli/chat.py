"""`refrain chat`: talk to an exported model."""

import argparse
import sys
from typing import Any

from refrain.cli.options import add_generation_options, generation_options, plain_text, start_few_threads

HELP = "talk to an exported model"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("chat", description=run.__doc__)
    add_generation_options(parser)
    parser.add_argument(
        "--prompt",
        type=plain_text,
        metavar="TEXT",
        help="answer this and exit; - reads a prompt from each line of stdin",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Talk to an exported model. Prompts from a pipe, one a line, are each answered alone, one reply a line."""
    start_few_threads()
    from refrain.cli import screen, terminal
    from refrain.generation import chat_model, model_choice  # --help should not wait for ONNX Runtime

    screen.accept_any_bytes()
    folder = model_choice.choose_model(str(options.model))
    drafts = options.prompt_lookup_num_tokens
    model = chat_model.load(folder, generation_options(options), options.threads, prompt_lookup_num_tokens=drafts)
    if options.prompt not in (None, "-"):
        for piece in terminal.answer_one(model, options.system, options.prompt):
            print(screen.show(piece), end="", flush=True)
        print()
    elif options.prompt == "-" or not sys.stdin.isatty():
        for line in terminal.answer_lines(model, options.system, sys.stdin):
            print(screen.show(line), flush=True)
    else:
        from refrain.experiments import lineage

        terminal.chat_loop(model, options.system, lineage.describe_origin(folder))
    return 0
