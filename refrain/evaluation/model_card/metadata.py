"""The front matter of a model card: the fields by which the Hub finds, links and describes a model."""

from collections.abc import Mapping
from typing import Any

from refrain.evaluation.model_card.facts import CardFacts
from refrain.evaluation.model_card.licenses import combine_licenses


def card_metadata(facts: CardFacts) -> dict[str, Any]:
    """All that is known before the scores, in the order in which the Hub documents it."""
    languages = {code for terms in facts.terms.values() for code in terms.get("language", [])}
    datasets = {commit["hub"] for commit in facts.manifest.get("commits", {}).values()}
    return {
        **combine_licenses(facts.terms.values()),
        **({"language": sorted(languages)} if languages else {}),
        "library_name": "onnx",
        "pipeline_tag": "text-generation",
        **base_fields(facts),
        **({"datasets": sorted(datasets)} if datasets else {}),
        "tags": ["onnx", "onnxruntime", "refrain", "conversational", *method_tags(facts.method)],
    }


def base_fields(facts: CardFacts) -> dict[str, str]:
    """The base, where it is one of the Hub whose weights were trained on."""
    if "hub" not in facts.base or facts.method["weights"] != "pretrained":
        return {}
    return {"base_model": facts.base["hub"], "base_model_relation": "finetune"}


def method_tags(method: Mapping[str, Any]) -> list[str]:
    """What was trained, in the words that are searched for."""
    adapter = method["adapter"]
    kinds = {
        "lora": adapter is not None,
        "dora": adapter is not None and adapter["dora"],
        "qlora": adapter is not None and method["base_bits"] is not None,
        "preference-optimization": method["preference"] is not None,
    }
    return [name for name, holds in kinds.items() if holds]
