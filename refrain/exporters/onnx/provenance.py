"""Where an artifact comes from: base, data, processor, libraries, and the proof that it is what was trained."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from refrain.chat import encoding, special_tokens
from refrain.chat.encoding import ChatTokenizer
from refrain.evaluation import divergence, metrics
from refrain.evaluation.parity import ParityPrompts
from refrain.exporters.onnx.fallbacks import Attempt
from refrain.pipeline import manifest, paths

LIBRARIES = ("torch", "transformers", "peft", "optimum", "onnx", "onnxruntime")


def manifest_facts(best: str) -> dict[str, Any]:
    """What models/onnx/manifest.json says beside the sha256 of every file: no clock, no host."""
    sources = (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED)
    return {
        "base": json.loads((paths.BASE / "source.json").read_text(encoding="utf-8")),
        "best": best,
        "data": manifest.sha256_by_file(paths.PREPARED),
        **hub_commits(),
        "made_of": {path.as_posix(): manifest.dvc_md5(path) for path in sources},
        "special_tokens": special_tokens.explain_tokens(paths.BASE),
        "stop_tokens": explain_stops(paths.BASE, encoding.load_tokenizer(paths.MERGED)),
        "parity": json.loads(paths.PARITY.read_text(encoding="utf-8")),
        **environment(),
    }


def hub_commits() -> dict[str, Any]:
    """The commits of the data that came from the Hub, if any did."""
    path = paths.PREPARED / paths.COMMITS
    return {"commits": json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else {}


def parity_report(prompts: ParityPrompts, attempts: dict[str, list[Attempt]]) -> dict[str, Any]:
    """reports/parity.json: every link from the adapter on, its settings, what was measured and whether it holds."""
    merged = json.loads(paths.MERGE_REPORT.read_text(encoding="utf-8"))
    links = {
        name: {
            "reference": "merged",
            **attempt_facts(last),
            "failed_before": [attempt_facts(attempt) for attempt in earlier],
        }
        for name, (*earlier, last) in attempts.items()
    }
    return {
        "prompts": len(prompts.replies),
        "steps": max(len(reply.tokens) for reply in prompts.replies),
        "rows": len(prompts.rows),
        "tokens": prompts.positions,
        "merged": {"reference": "adapter", **merged, "rouge": round(metrics.mean(prompts.rouge), 4)},
        **links,
    }


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """What was measured of a variant in some settings."""
    measured = {} if attempt.result is None else divergence.rounded_facts(attempt.result)
    judged = {"fails": attempt.fails, "missed_by_chance": attempt.missed, "reached_by_chance": attempt.lucky}
    return {**measured, "weights": asdict(attempt.weights), **judged}


def environment() -> dict[str, Any]:
    """The processor only as coarsely as rounding needs, so that equal ones agree; the version of each library."""
    import torch  # slow, and what else is here is asked without it

    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def explain_stops(folder: Path, tokenizer: ChatTokenizer) -> dict[str, list[str]]:
    """Each token that ends a reply, with what says so: the template, or a file of the folder."""
    own_ids, own_file = special_tokens.read_stop_ids(folder)
    eos, *_ = special_tokens.find_names(folder).get("eos_token", [special_tokens.NamedToken("", "")])
    result = {}
    for text, token in sorted(tokenizer.index.special_ids.items()):
        reasons = {
            "chat template": tokenizer.end_marker.startswith(text),
            eos.file: eos.text == text,
            own_file: token in own_ids,
        }
        if token in tokenizer.stop_ids:
            result[text] = [reason for reason, holds in reasons.items() if holds]
    return result
