"""The card as a file: written with the artifact, and once more with the scores that were measured on it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refrain.evaluation.model_card.facts import collect_facts
from refrain.evaluation.model_card.metadata import card_metadata
from refrain.evaluation.model_card.scores import add_scores
from refrain.evaluation.model_card.sections import card_text
from refrain.pipeline import front_matter, manifest, paths
from refrain.pipeline.export_schema import VariantConfig


def write_card(folder: Path, manifest_facts: Mapping[str, Any], variants: Mapping[str, VariantConfig]) -> None:
    """README.md in an artifact folder, and the files with the terms of the base beside it."""
    facts = collect_facts(folder, manifest_facts, variants)
    text = front_matter.join_front_matter(card_metadata(facts), card_text(facts))
    (folder / front_matter.CARD).write_text(text, encoding="utf-8")
    for pattern in front_matter.TERMS:
        for file in sorted(paths.BASE.glob(pattern)):
            shutil.copyfile(file, folder / file.name)


def write_scored_card(onnx: Path, metrics: Path, out: Path) -> None:
    """The card of an artifact folder, with the scores that were measured on it, at another place."""
    card, results = (onnx / front_matter.CARD).read_text(encoding="utf-8"), json.loads(metrics.read_text("utf-8"))
    out.write_text(add_scores(card, manifest.read_manifest(onnx), results), encoding="utf-8")
