"""The words of a text in any script: what the metrics count.

ASCII has the words of rouge-score. Beyond it, marks belong to their letter, and where a script puts no blanks between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese ...) every character counts as one, as every emoji does.
"""

import re
import unicodedata

import regex

ASCII_WORD = re.compile(r"[a-z0-9]+")


ALONE = (  # a letter of a script without blanks; SA is the line breaking class of those of South-East Asia
    r"[[\p{L}\p{Nl}]&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{Line_Break=SA}]]"
)


EMOJI = r"[\p{Emoji_Presentation}\p{Regional_Indicator}[\p{So}&&[\u2600-\u27bf]]]|\p{Extended_Pictographic}\ufe0f"


JOINED = rf"[[\p{{L}}\p{{N}}]--{ALONE}][[\p{{L}}\p{{N}}\p{{M}}\u200c\u200d]--{ALONE}]*"


WORD = regex.compile(rf"(?V1)(?={ALONE}|{EMOJI})\X\p{{M}}*|{JOINED}")


WORD_OR_SIGN = regex.compile(rf"{WORD.pattern}|(?!\s)\X")


UNSPACED = regex.compile(rf"(?V1)(?={ALONE})\X\p{{M}}*|[\u3000-\u303f\u17d4-\u17da]")  # with the full stops of both


INVISIBLE = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")  # soft hyphens, directions


PRESENTATION = re.compile("[\ufb00-\ufdff\ufe70-\uffef]+")  # ligatures, Arabic forms, full and half width


def words(text: str) -> list[str]:
    """The words in lower case; signs such as + are none, but where there is nothing else each of them is one."""
    if text.isascii():
        return ASCII_WORD.findall(text.lower()) or signs(text)
    return WORD.findall(normalise_text(text).lower()) or signs(text)


def signs(text: str) -> list[str]:
    """The words and every sign between them."""
    return list(WORD_OR_SIGN.findall(normalise_text(text).lower()))


def word_pair(first: str, second: str) -> tuple[list[str], list[str]]:
    """The words of two texts that are compared; if one of them has only signs, those of the other count as well."""
    pair = words(first), words(second)
    has_only_signs = any(found and not WORD.match(found[0]) for found in pair)
    return (signs(first), signs(second)) if has_only_signs else pair


def space_out(text: str) -> str:
    """The text with a blank on both sides of every character that counts as a word; nothing changes for others."""
    return text if text.isascii() else UNSPACED.sub(r" \g<0> ", normalise_text(text))


def normalise_text(text: str) -> str:
    """In NFC, without characters that nobody sees, and with plain letters for ligatures and other widths."""
    if text.isascii():
        return text
    plain = PRESENTATION.sub(lambda match: unicodedata.normalize("NFKC", match[0]), INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", plain)
