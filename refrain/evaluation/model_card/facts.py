"""What a model card is made of: the reports of the stages before, and the settings that they ran with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.chat.model_folder import read_context_length
from refrain.evaluation.model_card import licenses
from refrain.pipeline import front_matter, paths
from refrain.pipeline.export_schema import VariantConfig
from refrain.runtime import onnx_folder


@dataclass(frozen=True)
class CardFacts:
    """All that is known of an artifact before it is scored."""

    variants: Mapping[str, VariantConfig]  # that were asked for, with their thresholds
    manifest: Mapping[str, Any]  # base, data, best, parity, made_of, versions
    data: Mapping[str, Any]  # reports/data.json
    train: Mapping[str, Any]  # reports/train.json
    terms: Mapping[str, licenses.Terms]  # of each part: license and language, as its own card says
    context: int  # tokens
    sizes: Mapping[str, int]  # bytes of graph and weights, by variant

    @property
    def base(self) -> Mapping[str, Any]:
        """models/base/source.json."""
        base: Mapping[str, Any] = self.manifest["base"]
        return base

    @property
    def name(self) -> str:
        """What the model is called: by its base and its method."""
        return f"{base_name(self.base)}-{self.method['name']}"

    @property
    def method(self) -> Mapping[str, Any]:
        """The method as it was trained."""
        method: Mapping[str, Any] = self.train["method"]
        return method


def collect_facts(folder: Path, manifest_facts: Mapping[str, Any], variants: Mapping[str, VariantConfig]) -> CardFacts:
    """The facts of an artifact folder whose variants are all there."""
    data, train = (json.loads(path.read_text(encoding="utf-8")) for path in (paths.DATA_REPORT, paths.TRAIN_REPORT))
    written = sorted(each.name for each in folder.iterdir() if onnx_folder.has_model(each))
    return CardFacts(
        variants,
        manifest_facts,
        data,
        train,
        read_terms(manifest_facts["base"], data, train["method"]["init_adapter"]),
        read_context_length(paths.MERGED),
        {name: onnx_folder.model_bytes(folder / name) for name in written if name != paths.BEST},
    )


def read_terms(base: Mapping[str, Any], data: Mapping[str, Any], init_adapter: str | None) -> dict[str, dict[str, Any]]:
    """License and language of each part that the model is made of, as its own card says them; empty if it does not."""
    cards = data["cards"]
    sources = {name: cards.get(name, {}) for name, counts in data["sources"].items() if counts["train"]}
    terms = front_matter.read_terms(paths.BASE / front_matter.CARD)
    match base:
        case {"tiny": {"corpus": None}}:
            parts = {}  # made of the rows themselves
        case {"tiny": _}:  # pretrained on a text
            parts = {f"base ({base_name(base)})": cards.get(paths.CORPUS_CARD, {})}
        case _:
            parts = {f"base ({base_name(base)})": terms}
    earlier: dict[str, dict[str, Any]] = {} if init_adapter is None else {f"what {init_adapter} was trained on": {}}
    return {**parts, **earlier, **sources}


def base_name(base: Mapping[str, Any]) -> str:
    """A word for the base: of its repository, its folder, or its kind."""
    return str(base.get("hub", base.get("folder", "tiny" if "tiny" in base else "model"))).rpartition("/")[2]
