"""Control tokens by their role (bos, eos, pad ...), wherever a model folder names them, and which name wins.

As transformers does: special_tokens_map.json is older than `added_tokens_decoder` in tokenizer_config.json, wins where
that is absent, and else only names what tokenizer_config.json leaves open; generation stops at `eos_token_id` of
generation_config.json, or without that file of config.json.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

SETTINGS, OLD_MAP = "tokenizer_config.json", "special_tokens_map.json"
STOPS = ("generation_config.json", "config.json")
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


class NamedToken(NamedTuple):
    """The text of a token, and the file that names it."""

    text: str
    file: str


def read_settings(folder: Path, name: str = SETTINGS) -> dict[str, Any]:
    """A JSON file of a model folder; empty where there is none."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder}: {name} is not JSON ({error}); repair it or fetch it again") from error
    return value if isinstance(value, dict) else {}


def read_special_tokens(folder: Path) -> dict[str, str]:
    """bos_token, eos_token and so on, as a template names them."""
    return {role: found[0].text for role, found in find_names(folder).items()}


def find_names(folder: Path) -> dict[str, list[NamedToken]]:
    """Each role with what the files say of it, the one that wins first."""
    settings = read_settings(folder)
    by_file = {SETTINGS: settings, OLD_MAP: read_settings(folder, OLD_MAP)}
    order = (SETTINGS, OLD_MAP) if "added_tokens_decoder" in settings else (OLD_MAP, SETTINGS)
    names: dict[str, list[NamedToken]] = {}
    for file in order:
        for role, text in list_token_texts(by_file[file]):
            if not isinstance(text, str):
                raise ValueError(f"{folder}: {file} has {text!r} as its {role}, which is not the text of a token; "
                                 "write the text, or null for none")  # fmt: skip
            names.setdefault(role, []).append(NamedToken(text, file))
    return names


def list_token_texts(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Roles with their tokens, written as text or as AddedToken; `extra_special_tokens` may have more. What the usual
    roles have may be anything but null."""
    extra = settings.get("extra_special_tokens")
    for role, value in [*settings.items(), *(extra.items() if isinstance(extra, dict) else ())]:
        text = value.get("content", value) if isinstance(value, dict) else value
        if role.endswith("_token") and (isinstance(text, str) or (role in ROLES and text is not None)):
            yield role, text


def read_tokenizer(folder: Path) -> Tokenizer:
    """tokenizer.json without truncation and padding; control tokens are also those that the settings call so."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{folder}: there is no tokenizer.json, so this is no model folder")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no other class
        raise ValueError(
            f"{folder}: tokenizer.json cannot be read ({error}); write it again with save_pretrained"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    for token in list_added_tokens(folder):
        if token.special and token.content not in special and tokenizer.token_to_id(token.content) is not None:
            tokenizer.add_special_tokens([token])
            special.add(token.content)
    for role, (found, *_) in find_names(folder).items():
        if role in ("bos_token", "eos_token") and found.text not in special:
            if tokenizer.token_to_id(found.text) is None:
                raise ValueError(f"{folder}: {found.file} names {found.text!r} as its {role}, which the vocabulary "
                                 "does not have; name one of its tokens there")  # fmt: skip
            tokenizer.add_special_tokens([AddedToken(found.text, normalized=False)])
    return tokenizer


def list_added_tokens(folder: Path) -> list[AddedToken]:
    """The tokens that `added_tokens_decoder` has, of which transformers adds to tokenizer.json what differs."""
    decoder = read_settings(folder).get("added_tokens_decoder")
    entries = decoder.values() if isinstance(decoder, dict) else ()
    return [
        AddedToken(
            entry["content"],
            special=bool(entry.get("special")),
            normalized=bool(entry.get("normalized")),
            lstrip=bool(entry.get("lstrip")),
            rstrip=bool(entry.get("rstrip")),
            single_word=bool(entry.get("single_word")),
        )
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("content"), str)
    ]


def adds_begin_token(folder: Path, tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts the begin token before a text unless told not to, as transformers loads it."""
    settings, bos = read_settings(folder), read_special_tokens(folder).get("bos_token")
    if bos is None:
        return False
    setting = settings.get("add_bos_token")
    if isinstance(setting, bool) and settings.get("tokenizer_class") != "PreTrainedTokenizerFast":
        return setting
    return list(tokenizer.encode("").ids[:1]) == [tokenizer.token_to_id(bos)]


def read_stop_ids(folder: Path) -> tuple[frozenset[int], str]:
    """Where generation stops by its settings, and the file that says so."""
    for name in STOPS:
        ids = read_settings(folder, name).get("eos_token_id")
        if ids is not None:
            return frozenset(
                token for token in (ids if isinstance(ids, list) else [ids]) if isinstance(token, int)
            ), name
    return frozenset(), STOPS[0]


def explain_tokens(folder: Path) -> dict[str, dict[str, str]]:
    """Each role with its token, the file that names it, and what other files name in its place."""
    names = {role: found for role, found in find_names(folder).items() if role in ROLES}
    return {
        role: {"token": first.text, "from": first.file}
        | {f"not {other.file}": other.text for other in others if other.text != first.text}
        for role, (first, *others) in names.items()
    }
