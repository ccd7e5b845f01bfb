"""Pictures in SVG, drawn by Vega-Lite: the same bytes for the same numbers.

`python -m refrain.experiments.pictures FOLDER [REVISION...]` draws what `dvc plots show` draws, or `diff` of revisions.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from refrain import TRAIN

NEEDED = f"pictures are drawn by vl-convert-python, of the extra train: pip install '{TRAIN}'"
COLOURS = ["#4c78a8", "#d9480f", "#2b8a3e", "#862e9c", "#e8a200", "#0b7285"]
INK = "#212529"
STYLE = {
    "background": "white",
    "padding": 12,
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",  # the first comes with vl-convert: all measure text alike
    "title": {"fontSize": 15},
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#e9ecef",
        "domainColor": "#868e96",
        "tickColor": "#868e96",
    },
    "legend": {"labelFontSize": 12},
}


def can_draw() -> bool:
    """Whether the library that draws is installed."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        return False
    return True


def draw_svg(spec: dict[str, Any]) -> str:
    """A picture of a Vega-Lite specification."""
    import vl_convert  # of the extra train

    return vl_convert.vegalite_to_svg(spec) + "\n"


def collect_plots(revisions: list[str]) -> dict[str, dict[str, Any]]:
    """The plots of dvc.yaml as specifications, by name: of the workspace, or of revisions side by side."""
    command = [sys.executable, "-m", "dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().removeprefix("ERROR: "))
    answer = json.loads(done.stdout)
    for name, revision in sorted({(error["name"], error["rev"]) for error in answer.get("errors", [])}):
        print(f"the plot {name} lacks files of {revision}: `dvc pull`, or `dvc repro`", file=sys.stderr)
    drawn = {name: plots[0]["content"] for name, plots in answer.get("data", {}).items() if plots}
    if not drawn:
        raise ValueError("there is nothing to draw yet: `dvc repro` first")
    return drawn


def draw_plots(folder: Path, revisions: list[str]) -> list[Path]:
    """The plots of dvc.yaml as SVG in a folder."""
    if not can_draw():
        raise ValueError(NEEDED)
    files = {folder / f"{name}.svg": draw_svg(spec) for name, spec in collect_plots(revisions).items()}
    folder.mkdir(parents=True, exist_ok=True)
    for file, svg in files.items():
        file.write_text(svg, encoding="utf-8")
    return list(files)


def main(arguments: list[str]) -> int:
    """The pictures that a person asks for, or one sentence."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: {__doc__.partition('`')[2].partition('`')[0]}", file=sys.stderr)
        return 2
    try:
        print(*draw_plots(Path(arguments[0]), arguments[1:]), sep="\n")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
