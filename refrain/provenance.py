"""Where an artifact comes from: base, data, library versions and the proof that it is the model that was trained."""

import json
from typing import Any

from refrain import gate, hardware, likeness, manifest, paths
from refrain.config import Variant
from refrain.parity import Proof, Questions


def facts(best: str) -> dict[str, Any]:
    """What models/onnx/manifest.json says beside the sha256 of every file: no clock, no host."""
    made_of = (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED)
    return {
        "base": json.loads((paths.BASE / "source.json").read_text(encoding="utf-8")),
        "best": best,
        "data": manifest.digests(paths.PREPARED),
        "made_of": {path.as_posix(): manifest.identity(path) for path in made_of},
        "parity": json.loads(paths.PARITY.read_text(encoding="utf-8")),
        **hardware.facts(),
    }


def chain(asked: Questions, proofs: dict[str, Proof], variants: dict[str, Variant]) -> dict[str, Any]:
    """reports/parity.json: every link from the adapter on, what was measured and whether it holds."""
    merged = json.loads(paths.MERGE_REPORT.read_text(encoding="utf-8"))
    links = {
        name: {"reference": "merged", **likeness.facts(proof), "fails": gate.failures(name, variants[name].bars, proof)}
        for name, proof in proofs.items()
    }
    return {
        "prompts": len(asked.prompts),
        "steps": len(asked.said[0]),
        "rows": len(asked.rows),
        "merged": {"reference": "adapter", **merged, "rouge": round(asked.rouge, 4)},
        **links,
    }
