"""What a person sees in the cell of a spreadsheet, where that does not depend on the language of the program."""

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NUMBER = re.compile(r"([#0?,]*)(?:\.([#0?]+))?(%?)")  # the part of a number format that says how digits are shown


LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|\[[^\]]*\]|_.|\*.')  # text, currencies, colours, spaces


def cell_text(value: Any, number_format: str) -> str:
    """The text of a cell: numbers with the digits and dates with the parts that its format asks for."""
    match value:
        case None:
            return ""
        case str():
            return unescape(value)
        case bool():
            return str(value).upper()
        case int() | float():
            return number_text(value, number_format)
        case datetime():
            has_time = value.time() != time() or (re.search("[hs]", LITERAL.sub("", number_format.lower())) is not None)
            return value.strftime("%Y-%m-%d" + (time_pattern(value.time()) if has_time else "")).strip()
        case date():
            return value.isoformat()
        case time():
            return value.strftime(time_pattern(value)).strip()
        case timedelta():
            minutes, seconds = divmod(round(value.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return str(value)


def time_pattern(value: time) -> str:
    """Hours and minutes, and seconds where there are any."""
    return " %H:%M:%S" if value.second else " %H:%M"


def unescape(text: str) -> str:
    """The text of a cell, in which control characters are written like _x000D_."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def number_text(value: float, number_format: str) -> str:
    """A number as its format shows it; by its digits, 15 at most, where the format is none of the common ones."""
    sections = number_format.split(";")
    section = sections[1] if value < 0 and len(sections) > 1 else sections[0]
    literals = [found.expand(r"\1\2\3") if found.lastindex else "" for found in LITERAL.finditer(section)]
    plain = LITERAL.sub("\0", section)
    shown = [found for found in NUMBER.finditer(plain) if found.group(1) or found.group(2)]
    if len(shown) != 1 or re.search(r"[^\0#0?,.%\s()$€£¥+-]", plain):
        return general_text(value)
    number = abs(value) if len(sections) > 1 and value < 0 else value
    begin, end = shown[0].span()
    digits = format_digits(number, shown[0])
    texts = iter(literals)
    around = [re.sub("\0", lambda _: next(texts), part) for part in (plain[:begin], plain[end:])]
    return f"{around[0]}{digits}{around[1]}".strip()


def format_digits(value: float, pattern: re.Match[str]) -> str:
    """The digits of a number: so many zeros before the point, so many decimals behind it, thousands, per cent."""
    whole, decimals, percent = pattern.group(1), pattern.group(2) or "", pattern.group(3)
    exact = Decimal(general_text(value)) * (100 if percent else 1)
    rounded = exact.quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP)
    text = f"{rounded:{',' if ',' in whole else ''}f}"
    if optional := len(decimals) - len(decimals.rstrip("#?")):
        kept = len(text) - optional
        text = (text[:kept] + text[kept:].rstrip("0")).rstrip(".")
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    least = whole.count("0")
    head, point, tail = text.partition(".")
    return f"{sign}{head.rjust(least, '0')}{point}{tail}{percent}"


def general_text(value: float) -> str:
    """A number without more digits than a spreadsheet keeps: 0.1 + 0.2 is 0.3."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.15g}"
