"""Numbers with their nouns, as people write them."""

SIBILANTS = ("s", "x", "ch", "sh")
OTHERWISE = {"epoch": "epochs", "matrix": "matrices"}


def format_count(count: float, noun: str) -> str:
    """1 row, 2,279 rows, 2 replies, 0.5 epochs."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:,g}"
    return f"{number} {noun if count == 1 else pluralise(noun)}"


def pluralise(noun: str) -> str:
    """The plural of the last word."""
    *before, last = noun.split(" ")
    if last in OTHERWISE:
        last = OTHERWISE[last]
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = f"{last[:-1]}ies"
    else:
        last += "es" if last.endswith(SIBILANTS) else "s"
    return " ".join([*before, last])
