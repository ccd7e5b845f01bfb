"""Where an artifact comes from: base, data, library versions and the proof that it is the model that was trained.

What decides how sums are rounded: the processor and the libraries.
"""

import json
from importlib.metadata import version
from typing import Any

from refrain.evaluation import divergence, gate
from refrain.evaluation.parity import ParityPrompts, ParityResult
from refrain.pipeline import manifest, paths
from refrain.pipeline.schema import VariantConfig


def manifest_facts(best: str) -> dict[str, Any]:
    """What models/onnx/manifest.json says beside the sha256 of every file: no clock, no host."""
    made_of = (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED)
    return {
        "base": json.loads((paths.BASE / "source.json").read_text(encoding="utf-8")),
        "best": best,
        "data": manifest.sha256_by_file(paths.PREPARED),
        "made_of": {path.as_posix(): manifest.dvc_md5(path) for path in made_of},
        "parity": json.loads(paths.PARITY.read_text(encoding="utf-8")),
        **environment(),
    }


def parity_report(
    asked: ParityPrompts, proofs: dict[str, ParityResult], variants: dict[str, VariantConfig]
) -> dict[str, Any]:
    """reports/parity.json: every link from the adapter on, what was measured and whether it holds."""
    merged = json.loads(paths.MERGE_REPORT.read_text(encoding="utf-8"))
    links = {
        name: {
            "reference": "merged",
            **divergence.rounded_facts(proof),
            "fails": gate.failed_thresholds(name, variants[name].thresholds, proof),
        }
        for name, proof in proofs.items()
    }
    return {
        "prompts": len(asked.prompt_ids),
        "steps": len(asked.replies[0]),
        "rows": len(asked.rows),
        "merged": {"reference": "adapter", **merged, "rouge": round(asked.rouge, 4)},
        **links,
    }


LIBRARIES = ("torch", "transformers", "peft", "optimum", "onnx", "onnxruntime")


def environment() -> dict[str, Any]:
    """The processor only as coarsely as rounding needs, so that equal ones agree; the version of each library."""
    import torch  # slow, and what else is here is asked without it

    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
