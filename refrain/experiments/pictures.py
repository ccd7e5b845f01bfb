"""Pictures in SVG, drawn by Vega-Lite: the same bytes for the same numbers.

`python -m refrain.experiments.pictures FOLDER [REVISION...]` draws what `dvc plots show` draws, or `diff` of revisions.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
        raise ValueError(f"dvc plots: {done.stderr.strip()}")
    answer = json.loads(done.stdout)
    for error in answer.get("errors", []):
        print(f"{error['source']} is missing in {error['rev']}: `dvc pull`, or `dvc repro`", file=sys.stderr)
    return {name: drawn[0]["content"] for name, drawn in answer["data"].items() if drawn}


def draw_plots(folder: Path, revisions: list[str]) -> list[Path]:
    """The plots of dvc.yaml as SVG in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, spec in collect_plots(revisions).items():
        files.append(folder / f"{name}.svg")
        files[-1].write_text(draw_svg(spec), encoding="utf-8")
    return files


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("name the folder for the pictures: python -m refrain.experiments.pictures FOLDER [REVISION...]")
    try:
        print(*draw_plots(Path(sys.argv[1]), sys.argv[2:]), sep="\n")
    except ValueError as error:
        sys.exit(str(error))
