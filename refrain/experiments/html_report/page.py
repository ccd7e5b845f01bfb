"""One HTML file of sections: no network, one style and one script by their hashes, always the same bytes."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from refrain.experiments.html_report.markup import escape, tag

POLICY = ("default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'",
          "require-trusted-types-for 'script'")  # fmt: skip
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{lead}
<nav aria-label="Sections">{contents}</nav>
</header>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own; what it holds is HTML, in which texts are escaped already."""

    heading: str
    body_html: str


def render_page(title: str, sections: Sequence[Section], lead_html: str = "") -> str:
    """The file: a title, what is said first below it, links to the sections, and these."""
    names = name_sections(sections)
    style, script = read_asset("report.css"), read_asset("report.js")
    links = [tag("a", escape(part.heading), href=f"#{name}") for name, part in zip(names, sections, strict=True)]
    parts = [render_section(name, part) for name, part in zip(names, sections, strict=True)]
    policy = [*POLICY, f"style-src '{source_hash(style)}'", f"script-src '{source_hash(script)}'"]
    return PAGE.format(
        policy="; ".join(policy),
        title=escape(title),
        style=style,
        lead=lead_html,
        contents="\n".join(links),
        body="\n".join(parts),
        script=script,
    )


def render_section(name: str, part: Section) -> str:
    heading = tag("h2", escape(part.heading), id=f"{name}-heading")
    return tag("section", f"{heading}\n{part.body_html}\n", id=name, aria_labelledby=f"{name}-heading")


def name_sections(sections: Sequence[Section]) -> list[str]:
    """The anchor of each section, by its heading; the second of two alike has its number behind it."""
    slugs = [re.sub(r"[^a-z0-9]+", "-", part.heading.lower()).strip("-") or "section" for part in sections]
    return [slug if slug not in slugs[:i] else f"{slug}-{i}" for i, slug in enumerate(slugs)]


def source_hash(text: str) -> str:
    """An inline style or script as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read_asset(name: str) -> str:
    """A file of this package, as it stands between its tags."""
    return "\n" + files(__package__).joinpath(name).read_text(encoding="utf-8")
