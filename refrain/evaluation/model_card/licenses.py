"""The license of what is made of several parts, as far as their own cards say it; nothing is guessed."""

from collections.abc import Iterable, Mapping
from typing import Any

Terms = Mapping[str, Any]  # license: list of ids; license_name, license_link; language: list of codes

UNKNOWN = "unknown"
OTHER = "other"
DEDICATIONS = ("cc0-1.0", "unlicense", "pddl")  # to the public domain: they ask nothing of what is made of a part


def combine_licenses(parts: Iterable[Terms]) -> dict[str, str]:
    """The front matter's fields: the one license that asks something of the result, or what is to be said instead."""
    each = list(parts)
    if not each or not all(is_known(terms) for terms in each):
        return {"license": UNKNOWN}
    names = sorted({name for terms in each for name in terms["license"]})
    asking = [name for name in names if name not in DEDICATIONS] or names[:1]
    if len(asking) > 1:
        return {"license": OTHER, "license_name": "-and-".join(asking)}
    others = [terms for terms in each if OTHER in terms["license"]]
    if asking != [OTHER]:
        return {"license": asking[0]}
    named = {terms.get("license_name"): terms for terms in others}
    if len(named) > 1 or None in named:
        return {"license": OTHER, "license_name": "-and-".join(sorted(name or UNKNOWN for name in named))}
    fields = ("license_name", "license_link")
    return {"license": OTHER, **{name: others[0][name] for name in fields if name in others[0]}}


def is_known(terms: Terms) -> bool:
    """Whether a card names a license."""
    return bool(terms.get("license")) and UNKNOWN not in terms["license"]


def describe_license(terms: Terms) -> str:
    """The license of a part in words."""
    if not is_known(terms):
        return "unknown: its card names none"
    names = [terms.get("license_name", name) if name == OTHER else name for name in terms["license"]]
    link = f" ({terms['license_link']})" if "license_link" in terms else ""
    return " and ".join(names) + link
