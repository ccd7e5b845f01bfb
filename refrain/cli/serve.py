"""`refrain serve`: an OpenAI-compatible server and a page to talk to it."""

import argparse
from typing import Any

HELP = "serve an exported model over HTTP, with a page to talk to it"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("serve", description=run.__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default="models/onnx")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve an exported model at an address of this machine, as OpenAI's API, with a page to talk to it."""
    import uvicorn

    from refrain.serving.server import create_app
    from refrain.serving.settings import ServeSettings

    settings = ServeSettings(port=options.port, model=options.model)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="warning", http="h11")
    return 0
