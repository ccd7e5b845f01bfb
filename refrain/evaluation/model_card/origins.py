"""What a model is made of, as its card tells it: base, data and their fates, training, licenses, hashes."""

from collections.abc import Iterator, Mapping
from typing import Any

from refrain.evaluation.model_card import licenses, markdown
from refrain.evaluation.model_card.facts import CardFacts
from refrain.pipeline.plurals import format_count

PLACES = ("rows", "train", "val", "test", "duplicates", "quarantined", "set_aside")


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
