"""Whether a run would get through here: all checks, as a table, with what to do about each."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from refrain.experiments.checks import environment, machine
from refrain.experiments.checks.finding import Finding
from refrain.experiments.text_tables import text_table
from refrain.pipeline import paths

SYMBOLS = {"ok": "ok", "note": "look", "stop": "STOPS"}
WIDTH = 120


def find_all(is_repository: bool, asks_remote: bool) -> Iterator[Finding]:
    """Every finding; outside of a repository those about what uses models."""
    places = {"the workspace" if is_repository else "this folder": Path()}
    yield from environment.check_environment()
    if is_repository and find_spec("dvc") and find_spec("omegaconf"):
        from refrain.experiments.checks import repository

        yield from repository.check_git()
        yield from repository.check_dvc(asks_remote)
    yield check_model()
    yield from machine.check_machine(places)


def check_model() -> Finding:
    """Whether there is a model to talk to."""
    from refrain.runtime import onnx_folder

    folder = paths.ONNX / paths.BEST
    if onnx_folder.has_model(folder):
        return Finding("model", "ok", f"{folder}, {onnx_folder.model_bytes(folder) / 1e6:.1f} MB")
    hint = " yet; `dvc repro` makes it, `dvc pull` fetches it" if paths.CONF.is_dir() else " here"
    return Finding("model", "ok", f"there is no {folder}{hint}")


def describe_findings(findings: list[Finding]) -> str:
    """The table, and below it a line for each thing to do."""
    rows = [(finding.name, SYMBOLS[finding.state], finding.text) for finding in findings]
    todo = [finding for finding in findings if finding.state != "ok"]
    lines = [f"{finding.name}: {finding.advice}" for finding in todo]
    stops = sum(finding.state == "stop" for finding in findings)
    verdict = f"{stops} of {len(findings)} checks stop work" if stops else f"{len(findings)} checks, none stops work"
    return "\n".join([text_table(rows), "", verdict, *(f"  {line}" for line in lines)])
