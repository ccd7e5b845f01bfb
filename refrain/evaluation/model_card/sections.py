"""The text of a model card: all of its sections, what the model is, its sizes, and what nobody has tested."""

from collections.abc import Mapping
from typing import Any

from refrain.evaluation.model_card import markdown, origins, usage
from refrain.evaluation.model_card.facts import CardFacts
from refrain.evaluation.model_card.proof import proof_section

SCORES = "Scores"
NO_SCORES = (
    "Not in this file: they are measured on the finished artifact, which this file is part of. `reports/model_card.md` "
    "of the repository has them, and `refrain publish` puts it in this place."
)


def card_text(facts: CardFacts) -> str:
    """Everything below the front matter."""
    return f"# {facts.name}\n\n{introduction(facts)}\n" + "".join(
        [
            usage.usage_section(),
            origins.base_section(facts),
            origins.data_section(facts),
            origins.training_section(facts),
            markdown.section(SCORES, NO_SCORES),
            proof_section(facts),
            sizes_section(facts),
            limits_section(facts),
            origins.license_section(facts),
            origins.origin_section(facts),
        ]
    )


def introduction(facts: CardFacts) -> str:
    is_fine_tuned = facts.method["weights"] == "pretrained"
    origin = "fine-tuned from" if is_fine_tuned else "trained from random weights, with the tokenizer and the sizes of"
    return (
        f"A causal language model for conversations, {origin} {origins.describe_base(facts.base)}, and exported to "
        "ONNX. Every step from the trained weights to these files was compared with the one before: see "
        "[Proof](#proof)."
    )


def sizes_section(facts: CardFacts) -> str:
    parity, best = facts.manifest["parity"], facts.manifest["best"]
    named = {name: f"{name}, in `best/`" if name == best else name for name in facts.sizes}
    rows = [
        (named[name], describe_weights(parity[name]["weights"]), markdown.megabytes(size))
        for name, size in facts.sizes.items()
    ]
    return markdown.section(
        "Variants",
        markdown.table(("variant", "weights", "size"), rows, 2),
        "Not all of them need lie beside this file; `manifest.json` lists those that do, with their checksums. How "
        "fast each is depends on the machine: `refrain bench` in the repository measures it on yours.",
    )


def describe_weights(weights: Mapping[str, Any]) -> str:
    """How weights are stored, in words."""
    where = " in down projections and LM head" if weights.get("activations") else ""
    blocks = f", blocks of {weights['block']}{where}" if weights.get("block") else ""
    head = f", embedding and LM head in {weights['head_bits']}" if weights.get("head_bits") else ""
    cache = ", KV cache in 8" if weights.get("kv_bits") == 8 else ""
    activations = ", activations in 8 bits by token" if weights.get("activations") else ""
    return f"{weights['bits']} bits{blocks}{activations}{head}{cache}"


def limits_section(facts: CardFacts) -> str:
    longest = facts.data["lengths"]["tokens"].get("train", {}).get("p100")
    languages = sorted({code for terms in facts.terms.values() for code in terms.get("language", [])})
    spoken = f"Its rows are said to be in `{'`, `'.join(languages)}`" if languages else "No card names its language"
    seen = f", and the longest training row that was measured has {longest:,}" if longest is not None else ""
    return markdown.section(
        "Limits",
        f"- It sees {facts.context:,} tokens, prompt and reply together{seen}: beyond that nothing was tested.\n"
        f"- {spoken}; no other was tested.\n"
        "- Scores and proof are of greedy decoding; sampled replies were not scored.\n"
        "- Test rows are of the same sources as training rows, or of those that were named as tests: scores say "
        "nothing of other topics, nor of facts it was never told.\n"
        "- It was not tested for bias, toxicity, safety, resistance to instructions that are hidden in prompts, or use "
        "in decisions about people. It can state falsehoods fluently.",
    )
