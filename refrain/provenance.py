"""Where an artifact comes from: base, data, library versions and the proof that it is the model that was trained."""

import json
from importlib.metadata import version
from typing import Any

from refrain import manifest, paths
from refrain.parity import Parity

LIBRARIES = ("torch", "transformers", "peft", "optimum", "onnx", "onnxruntime")


def facts(proofs: dict[str, Parity]) -> dict[str, Any]:
    """What models/onnx/manifest.json says beside the sha256 of every file."""
    return {
        "base": json.loads((paths.BASE / "source.json").read_text(encoding="utf-8")),
        "data": manifest.digests(paths.PREPARED),
        "parity": {name: proof.facts() for name, proof in proofs.items()},
        "versions": {name: version(name) for name in LIBRARIES},
    }
