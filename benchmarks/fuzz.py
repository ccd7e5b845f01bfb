"""Send a server whatever its API document allows, and what it does not.

    python -m benchmarks.fuzz [URL] [--seconds N]

Without a URL it is a server of its own, of models/onnx. Every answer must be one that the document knows, of the form
that it gives, and never a failure of the server: the first fault ends all with an error.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import schemathesis
import schemathesis.checks
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Err
from schemathesis.specs.openapi import checks

from benchmarks.harness import tables
from benchmarks.harness.server_process import ServerProcess
from refrain.pipeline import paths
from refrain.serving.api.openapi import OPERATIONS

CHECKS = [
    schemathesis.checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance,
]  # fmt: skip
EXAMPLES = 50  # of one route at a time


def send_requests(
    url: str, document: dict[str, Any], path: str, mode: GenerationMode, max_examples: int, number: int
) -> int:
    """How many requests, which follow from a number, were sent to a route; the error of the first fault."""
    schema = schemathesis.openapi.from_dict({**document, "paths": {path: document["paths"][path]}})
    schema.config.update(base_url=url)
    sent = 0
    for operation in schema.get_all_operations():
        if isinstance(operation, Err):
            raise operation.err()

        @seed(number)
        @settings(max_examples=max_examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.ok().as_strategy(generation_mode=mode))
        def send(case: Case[Any]) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(checks=CHECKS)

        send()
    return sent


def list_modes(document: dict[str, Any], path: str) -> list[GenerationMode]:
    """What a route can be sent: without a body nothing is wrong."""
    has_body = any("requestBody" in operation for operation in document["paths"][path].values())
    return [*GenerationMode] if has_body else [GenerationMode.POSITIVE]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    if options.url:
        sent = send_all(options.url, options.seconds)
    else:
        command = [sys.executable, "-m", "refrain.cli.main", "serve", "--port", "{port}", "--model", str(paths.ONNX)]
        with tempfile.TemporaryDirectory() as scratch:
            server = ServerProcess(command, "/readyz", Path(scratch, "log"), {})
            try:
                sent = send_all(server.url, options.seconds)
            finally:
                server.close()
    for path, count in sent.items():
        print(f"{path:24} {count:7} requests, no fault", file=sys.stderr)
    print(tables.to_markdown([["routes", "requests", "faults"], [str(len(sent)), f"{sum(sent.values()):,}", "0"]]))


def send_all(url: str, seconds: float) -> dict[str, int]:
    """How many requests were sent to each route until the time was up."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        document = json.load(answer)
    end, number, sent = time.monotonic() + seconds, 0, dict.fromkeys(OPERATIONS, 0)
    while time.monotonic() < end:
        for path in OPERATIONS:
            for mode in list_modes(document, path):
                sent[path] += send_requests(url, document, path, mode, EXAMPLES, number)
        number += 1
    return sent


if __name__ == "__main__":
    main()
