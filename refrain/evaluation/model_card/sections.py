"""The text of a model card: what it is, how to run it, of what and how it was made, and what nobody has tested."""

from collections.abc import Iterator, Mapping
from typing import Any

from refrain.evaluation.model_card import licenses, markdown
from refrain.evaluation.model_card.facts import CardFacts
from refrain.evaluation.model_card.proof import proof_section
from refrain.pipeline.plurals import format_count

PLACES = ("rows", "train", "val", "test", "duplicates", "quarantined", "set_aside")
SCORES = "Scores"
NO_SCORES = (
    "Not in this file: they are measured on the finished artifact, which this file is part of. `reports/model_card.md` "
    "of the repository has them, and `refrain publish` puts it in this place."
)
ORT = """
import json
import numpy, onnxruntime
from tokenizers import Tokenizer

session = onnxruntime.InferenceSession("best/model.onnx")
tokenizer = Tokenizer.from_file("best/tokenizer.json")
stop_ids = json.load(open("best/generation_config.json"))["eos_token_id"]
inputs = {each.name: each.shape for each in session.get_inputs()}
empty = {name: numpy.zeros([1, shape[1], 0, shape[3]], "float32") for name, shape in inputs.items() if "past" in name}
prompt = "..."  # as best/chat_template.jinja writes it
ids = tokenizer.encode(prompt, add_special_tokens=False).ids
start = len(ids)
while len(ids) < start + 64 and ids[-1] not in stop_ids:
    feed = {"input_ids": numpy.array([ids]), "attention_mask": numpy.ones((1, len(ids)), "int64"), **empty}
    feed |= {"logits_at": numpy.array([len(ids) - 1])} if "logits_at" in inputs else {}
    feed |= {"position_ids": numpy.arange(len(ids))[None]} if "position_ids" in inputs else {}
    ids.append(int(session.run(["logits"], feed)[0][0, -1].argmax()))
print(tokenizer.decode(ids[start:]))
""".strip()


def card_text(facts: CardFacts) -> str:
    """Everything below the front matter."""
    return f"# {facts.name}\n\n{introduction(facts)}\n" + "".join(
        [
            usage_section(),
            base_section(facts),
            data_section(facts),
            training_section(facts),
            markdown.section(SCORES, NO_SCORES),
            proof_section(facts),
            sizes_section(facts),
            limits_section(facts),
            license_section(facts),
            origin_section(facts),
        ]
    )


def introduction(facts: CardFacts) -> str:
    is_fine_tuned = facts.method["weights"] == "pretrained"
    origin = "fine-tuned from" if is_fine_tuned else "trained from random weights, with the tokenizer and the sizes of"
    return (
        f"A causal language model for conversations, {origin} {describe_base(facts.base)}, and exported to ONNX. Every "
        "step from the trained weights to these files was compared with the one before: see [Proof](#proof)."
    )


def usage_section() -> str:
    return markdown.section(
        "How to run it",
        "In the folder of this file; nothing of PyTorch is needed:",
        "```sh\nrefrain check .                    # whether every file is what was exported\n"
        'refrain chat --model . --prompt "..."\n'
        "refrain serve --model .            # OpenAI's API, and a page to talk to it\n```",
        '```python\nimport refrain\n\nprint(refrain.load(".").chat("..."))\n```',
        "With ONNX Runtime alone, without a cache of keys and values:",
        f"```python\n{ORT}\n```",
    )


def base_section(facts: CardFacts) -> str:
    files = facts.base.get("files", {})
    weights = "\n".join(
        f"- `{name}`: sha256 `{files[name]}`" for name in sorted(files) if name.endswith(".safetensors")
    )
    translated = facts.base.get("translated")
    return markdown.section(
        "Base model",
        f"{describe_base(facts.base)[0].upper()}{describe_base(facts.base)[1:]}.",
        weights,
        f"`{translated}` was translated for the transformers it was trained with." if translated else "",
    )


def describe_base(base: Mapping[str, Any]) -> str:
    """The base in words, with its commit."""
    match base:
        case {"hub": hub, "revision": revision, "commit": commit}:
            return f"[{hub}](https://huggingface.co/{hub}/tree/{commit}), revision `{revision}`, commit `{commit}`"
        case {"folder": folder}:
            return f"a local folder called `{folder}`, whose origin is not recorded"
        case {"tiny": tiny}:
            text = f"`{tiny['corpus']}`" if tiny["corpus"] else "the training rows"
            return (
                f"a tiny Llama-shaped model that was pretrained for this one on {text} "
                f"({format_count(tiny['layers'], 'layer')}, width {tiny['width']}, {tiny['vocabulary']:,} tokens, "
                f"{format_count(tiny['epochs'], 'epoch')}, seed {base['seed']})"
            )
    return "a base whose origin is not recorded"


def data_section(facts: CardFacts) -> str:
    data = facts.data
    rows = [(name, *counts_of(counts)) for name, counts in data["sources"].items()]
    reasons = [(reason, f"{count:,}") for reason, count in sorted(data["reasons"].items())]
    commits = [
        f"- {name}: [{each['hub']}](https://huggingface.co/datasets/{each['hub']}), commit `{each['commit']}`"
        for name, each in sorted(facts.manifest.get("commits", {}).items())
    ]
    return markdown.section(
        "Data",
        f"{format_count(data['rows'], 'row')} in all, each in exactly one place. Training used {facts.train['rows']:,} "
        f"({facts.train['supervised_tokens']:,} trained tokens), validation {data['val']:,}; {data['test']:,} were "
        "held out for the test, and what equals or nearly equals one of these left training.",
        markdown.table(
            ("source", "rows", "train", "val", "test", "duplicates", "quarantined", "filtered"),
            [*rows, ("all", *counts_of(data))],
        ),
        "Why rows were not used:" if reasons else "No row was quarantined, filtered or dropped as a duplicate.",
        markdown.table(("reason", "rows"), reasons) if reasons else "",
        "\n".join(commits),
    )


def counts_of(counts: Mapping[str, int]) -> Iterator[str]:
    return (f"{counts[place]:,}" for place in PLACES)


def training_section(facts: CardFacts) -> str:
    method, train, loss = facts.method, facts.train, facts.train["val_loss"]
    adapter, preference = method["adapter"], method["preference"]
    values = {
        "weights": method["weights"],
        "adapter": "none: all weights were trained" if adapter is None else describe_values(adapter),
        "base in bits": method["base_bits"],
        "preference loss": None if preference is None else describe_values(preference),
        "adapter initialised from": method["init_adapter"],
        **train["settings"],
        "seed": train["seed"],
        "optimiser steps": f"{train['steps']:,}; kept: those of step {train['kept']:,}",
        "validation loss before, in nats": loss["before"],
        "validation loss after, in nats": loss["after"],
    }
    known = [(name, value) for name, value in values.items() if value is not None]
    return markdown.section("Training", f"Method `{method['name']}`.", markdown.table(("setting", "value"), known, 2))


def describe_values(values: Mapping[str, Any]) -> str:
    """Settings on one line; those that are off are not named."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, False))


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
        "Not all of them need lie beside this file; `manifest.json` lists those that do, with their checksums.",
    )


def describe_weights(weights: Mapping[str, Any]) -> str:
    """How weights are stored, in words."""
    blocks = f", blocks of {weights['block']}" if weights.get("block") else ""
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


def license_section(facts: CardFacts) -> str:
    combined = licenses.combine_licenses(facts.terms.values())
    name = combined.get("license_name", combined["license"])
    result = {
        licenses.UNKNOWN: "No license can be named for the whole, since that of a part is unknown:",
        licenses.OTHER: f"Several terms hold at once (`{name}`): those of every part.",
    }.get(combined["license"], f"`{name}`, from the cards of its parts:")
    rows = [(part, licenses.describe_license(terms)) for part, terms in facts.terms.items()]
    return markdown.section("License", result, markdown.table(("part", "license"), rows, 2))


def origin_section(facts: CardFacts) -> str:
    made_of = [(path, f"`{md5}`") for path, md5 in facts.manifest["made_of"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in facts.manifest["versions"].items())
    return markdown.section(
        "Origin",
        "What it was made of, by the md5 that `dvc.lock` of its repository names; `refrain verify` makes it again, "
        "byte for byte on a processor of the same kind.",
        markdown.table(("made of", "md5"), made_of, 2),
        f"Libraries: {versions}.",
    )
