"""`refrain replay`: an answer of a running server, made again and compared."""

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib.error import HTTPError

HELP = "make an answer of a server again, and compare"
KEY = "REFRAIN_SERVE_API_KEY"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("replay", description=run.__doc__)
    parser.add_argument("id", metavar="ID", help="of the answer, such as chatcmpl-... or resp_...")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help=f"default: %(default)s; {KEY} is its key")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Let a server make one of its last answers again, and say whether every byte is equal; exit with 1 where not."""
    from urllib.parse import quote  # --help should not wait for it

    compared = ask(f"{options.url.rstrip('/')}/v1/refrain/replay/{quote(options.id, safe='')}")
    if compared["equal"]:
        print(f"{options.id}: equal, made again by {compared['model']}, {compared['seal'][:16]}")
        return 0
    for choice in compared["choices"]:
        if not choice["equal"]:
            print(f"{options.id}: choice {choice['index']} differs from character {choice['at']} on: "
                  f"{choice['before']!r} was said, {choice['now']!r} now")  # fmt: skip
    return 1


def ask(url: str) -> dict[str, Any]:
    """What the server answers; ValueError in its words where it refuses, or where none is there."""
    import urllib.error
    import urllib.request

    key = os.environ.get(KEY)
    try:
        request = urllib.request.Request(url, b"", {"Authorization": f"Bearer {key}"} if key else {})
        with urllib.request.urlopen(request) as answer:
            compared: dict[str, Any] = json.load(answer)
        return compared
    except urllib.error.HTTPError as error:
        raise ValueError(explain_refusal(url, error)) from error
    except (urllib.error.URLError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"{url}: no server of Refrain answers there ({reason}); name it with --url") from error


def explain_refusal(url: str, error: "HTTPError") -> str:
    """The sentence of the server, or of whatever answers in its place."""
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"{url}: {error.code} {error.reason}; name a server of Refrain with --url"
