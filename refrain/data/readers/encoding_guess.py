"""Which encoding the bytes of a text may have that are not UTF-8: the one in which they are letters of a language."""

from collections.abc import Callable
from functools import cache

SIGNS = "€‚„…‘’“”–—«»°´¿¡§·"  # that any text may have # noqa: RUF001


WESTERN = "äöüßéèêëàâçñóòôíìîïáúùûãõœæøåÄÖÜÉÈÀÂÇÑÁÍÓÚÊÔÆØÅŒº" + SIGNS
CENTRAL = "ąćęłńśźżčďěňřšťůžőűăşţľĺŕđáéíóúýâîöüäôßĄĆĘŁŃŚŹŻČĎĚŇŘŠŤŮŽŐŰÁÉÍÓÚÝÖÜ" + SIGNS
TURKISH = "çğıöşüâîûÇĞİÖŞÜ" + SIGNS
MIN_SHARE = 0.9  # of the signs beyond ASCII that are letters of a language, below which nothing is guessed


def guess_encoding(sample: bytes) -> str | None:
    """The likeliest of the usual encodings; None when there is none, or when the bytes may be UTF-8.

    Of those in which the text reads equally well, the one that more files have.
    """
    head = sample[: sample.rfind(b"\n") + 1] or sample  # a character may be cut at the end
    try:
        head.decode("utf-8")
    except UnicodeDecodeError:
        shares = {encoding: share_of_letters(head, encoding) for encoding in LETTERS}
        best = max(shares, key=lambda encoding: shares[encoding])
        return best if shares[best] >= MIN_SHARE else None
    return None


def share_of_letters(sample: bytes, encoding: str) -> float:
    """The share of the signs beyond ASCII that are letters of the languages that use an encoding."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    pairs = [(before, sign) for before, sign in zip(" " + text, text, strict=False) if not sign.isascii()]
    is_usual = LETTERS[encoding]
    usual = [is_usual(sign) and not is_odd_pair(before, sign) for before, sign in pairs]
    return sum(usual) / len(usual) if usual else 0.0


def is_odd_pair(before: str, sign: str) -> bool:
    """Whether no word has these two signs side by side: a capital behind a small letter, or letters of two scripts."""
    is_of_two_scripts = before.isascii() and before.isalpha() and "\u0384" <= sign <= "\u052f"
    return is_of_two_scripts or (before.islower() and sign.isupper())


def is_kana(sign: str) -> bool:
    return "\u3000" <= sign <= "\u30ff" or "\uff01" <= sign <= "\uff5e"  # and the signs of Japanese texts


@cache
def has_code(sign: str, encoding: str, first: bytes, last: bytes) -> bool:
    """Whether a sign is among the frequent ones of an East Asian encoding, which come first in it."""
    try:
        return first <= sign.encode(encoding) <= last
    except UnicodeEncodeError:
        return False


LETTERS: dict[str, Callable[[str], bool]] = {  # of the languages that use an encoding; the usual ones of Windows first
    "cp1252": lambda sign: sign in WESTERN,
    "cp1250": lambda sign: sign in CENTRAL,
    "cp1254": lambda sign: sign in TURKISH,
    "cp1251": lambda sign: "\u0400" <= sign <= "\u0491" or sign in SIGNS + "№",
    "cp1253": lambda sign: "\u0384" <= sign <= "\u03ce" or sign in SIGNS,
    "cp932": lambda sign: is_kana(sign) or has_code(sign, "cp932", b"\x88", b"\x98"),
    "cp949": lambda sign: "\uac00" <= sign <= "\ud7a3" or is_kana(sign),
    "gb18030": lambda sign: has_code(sign, "gb2312", b"\xa1", b"\xd8"),
    "big5": lambda sign: has_code(sign, "big5", b"\xa1", b"\xc7"),
    "koi8_r": lambda sign: "\u0400" <= sign <= "\u0491",
    "mac_roman": lambda sign: sign in WESTERN,
    "cp850": lambda sign: sign in WESTERN,
}
