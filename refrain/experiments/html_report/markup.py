"""Texts as HTML: what comes from data is never markup."""

import html
import json
from collections.abc import Sequence
from typing import Any

VOID = {"input", "br", "col"}  # elements without an end
SCRIPT_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def escape(text: str) -> str:
    """A text between tags or in a quoted attribute."""
    return html.escape(text, quote=True)


def tag(name: str, body_html: str = "", /, **attributes: object) -> str:
    """An element; `class_` and such lose their underscore, others become hyphens, and None leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>" + ("" if name in VOID else f"{body_html}</{name}>")


def paragraph(text: str, class_: str | None = None) -> str:
    return tag("p", escape(text), class_=class_)


def plain_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table of texts, the first column naming its row; columns beyond `texts` are numbers, flush right."""
    kinds = ["text" if i < texts else "number" for i in range(len(header))]
    head = "".join(
        tag("th", escape(cell), scope="col", class_=kind) if cell else tag("td")
        for cell, kind in zip(header, kinds, strict=True)
    )
    body = "".join(tag("tr", table_cells(row, kinds)) for row in rows)
    inner = tag("caption", escape(caption)) + tag("thead", tag("tr", head)) + tag("tbody", body)
    return tag("div", tag("table", inner), class_="scroll", role="region", aria_label=caption, tabindex="0")


def table_cells(row: Sequence[str], kinds: Sequence[str]) -> str:
    first = tag("th", escape(row[0]), scope="row", class_="text")
    return first + "".join(tag("td", escape(cell), class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True))


def details(summary: str, body_html: str) -> str:
    """What opens on a click."""
    return tag("details", tag("summary", escape(summary)) + body_html)


def json_block(value: Any) -> str:
    """Data for the page's script, in which no text can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(SCRIPT_SAFE)
    return f'<script type="application/json">{text}</script>'
