"""The `refrain` command: talk to an exported model, answer a file of prompts, measure, check, rebuild, show results."""

import argparse
import sys

from refrain.cli.options import terms


def chat(options: argparse.Namespace) -> int:
    """Talk to an exported model. Piped questions, one a line, are each answered alone, one answer a line."""
    from refrain.cli import terminal
    from refrain.generation import chat_model as voice  # --help should not wait for ONNX Runtime

    speaker = voice.load(options.model, terms(options), options.threads)
    if options.prompt not in (None, "-"):
        for piece in terminal.answer(speaker, options.system, options.prompt):
            print(piece, end="", flush=True)
        print()
    elif options.prompt == "-" or not sys.stdin.isatty():
        for line in terminal.answers(speaker, options.system, sys.stdin):
            print(line, flush=True)
    else:
        terminal.converse(speaker, options.system)
    return 0
