"""What a model folder is, a line each: its shape, its template, its special tokens."""

from pathlib import Path

from refrain.chat import encoding, special_tokens, templates
from refrain.chat.encoding import ChatTokenizer
from refrain.experiments.text_tables import text_table
from refrain.models.pretrained.facts import ModelFacts
from refrain.models.pretrained.resources import FP32, format_bytes
from refrain.pipeline.plurals import format_count

ROLES = {
    "a system turn": ["system", "user", "assistant"],
    "a first assistant turn": ["assistant", "user", "assistant"],
}
NO_TEMPLATE = "none of its own"


def facts_table(folder: Path, facts: ModelFacts, jinja: str | None) -> str:
    """All that config.json, the tokenizer and the headers of the weights say; `jinja` is a template that was chosen."""
    return text_table(
        [*describe_shape(facts), ("template", describe_template(folder, jinja)), *describe_tokens(folder)]
    )


def describe_shape(facts: ModelFacts) -> list[tuple[str, str]]:
    """Family, size and shape."""
    stored = f"{facts.parameters:,} in {format_count(facts.tensors, 'tensor')} of {', '.join(facts.dtypes)}"
    heads = f"{format_count(facts.heads, 'head')}, {facts.kv_heads} of keys and values, {facts.head_dim} wide"
    window = f", a window of {facts.window:,}" if facts.window else ""
    head = "tied to the head" if facts.is_tied else "beside a head of its own"
    return [
        ("family", ", ".join(filter(None, [facts.model_type or "unknown", facts.architecture]))),
        ("parameters", f"{stored}, {format_bytes(FP32 * facts.parameters)} in fp32" if facts.tensors else "no weights"),
        ("context", format_count(facts.context, "token") if facts.context else "no end in config.json"),
        ("attention", f"{format_count(facts.layers, 'layer')}, {heads}{window}"),
        ("table", f"{format_count(facts.vocabulary, 'token')}, {facts.width:,} wide, {head}"),
    ]


def describe_template(folder: Path, jinja: str | None) -> str:
    """Where the template comes from and which turns it takes, or why there is none that can be used."""
    try:
        if jinja is None and templates.find_template(folder, special_tokens.read_settings(folder)) is None:
            return NO_TEMPLATE
        tokenizer = encoding.load_tokenizer(folder, jinja)
        encoding.require_usable_template(tokenizer)
        taken = {turn: takes_roles(tokenizer, roles) for turn, roles in ROLES.items()}
    except (ValueError, OSError) as error:
        return str(error)
    origin = "its own" if jinja is None else "of the configuration"
    parts = [f"{'takes' if is_taken else 'refuses'} {turn}" for turn, is_taken in taken.items()]
    return ", ".join([origin, *parts, "asks for no date"])


def takes_roles(tokenizer: ChatTokenizer, roles: list[str]) -> bool:
    return templates.accepts_roles(tokenizer.template, tokenizer.special_tokens, roles)


def describe_tokens(folder: Path) -> list[tuple[str, str]]:
    """The token of each role, the file that names it, and which file is overruled."""
    try:
        named = special_tokens.explain_tokens(folder)
    except (ValueError, OSError) as error:
        return [("tokens", str(error))]
    return [(role.removesuffix("_token"), describe_token(facts)) for role, facts in sorted(named.items())]


def describe_token(facts: dict[str, str]) -> str:
    others = "".join(f", {name} {text}" for name, text in facts.items() if name not in ("token", "from"))
    return f"{facts['token']} by {facts['from']}{others}"
