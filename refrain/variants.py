"""Speed beside fidelity: the table and the plot by which the variants of an artifact are compared."""

from html import escape
from pathlib import Path
from typing import Any

from refrain import choice, manifest
from refrain.bench import Speed

TABLE = Path("reports/variants.md")
PLOT = "variants.svg"  # beside it
HEADER = ["variant", "MB", "start s", "memory MB", "prefill tok/s", "decode tok/s", "KL", "top-1", "ROUGE-L", ""]
WIDTH, HEIGHT, EDGE = 640, 320, 70


def names(onnx: Path) -> list[str]:
    """The variants that passed the gate; ValueError when there is no artifact."""
    parity = manifest.read(onnx)["parity"]
    return [name for name in parity if isinstance(parity[name], dict) and (onnx / name / "model.onnx").is_file()]


def write(onnx: Path, speeds: dict[str, Speed], machine: str, out: Path) -> str:
    """Put the table in Markdown into `out`, with the plot beside it; the text of both but the plot."""
    facts = manifest.read(onnx)
    rows = [HEADER, *(row(onnx, name, speed, facts) for name, speed in speeds.items())]
    text = f"{aligned(rows)}\n\n{verdict(speeds, facts['best'])}\n\n{machine}"
    (out.parent / PLOT).write_text(plot(speeds, facts), encoding="utf-8")
    out.write_text(f"# Variants\n\n{text}\n\n![tokens a second, and ROUGE-L]({PLOT})\n", encoding="utf-8")
    return text


def row(onnx: Path, name: str, speed: Speed, facts: dict[str, Any]) -> list[str]:
    proof, size = facts["parity"][name], choice.size(onnx / name) / 1e6
    measured = [f"{speed.start:.2f}", f"{speed.memory:.0f}", f"{speed.prefill:.0f}", f"{speed.decode:.0f}"]
    proven = [f"{proof['kl']:.1e}", f"{proof['top1']:.2%}", f"{proof['rouge']:.4f}"]
    return [name, f"{size:.1f}", *measured, *proven, "best" if name == facts["best"] else ""]


def aligned(rows: list[list[str]]) -> str:
    """A Markdown table whose columns stand below each other in plain text too."""
    widths = [max(len(each[i]) for each in rows) for i in range(len(rows[0]))]
    rule = ["-" * width + ("" if i == 0 else ":") for i, width in enumerate(widths)]
    rule = [part[1:] if i else part for i, part in enumerate(rule)]
    lines = [[cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(each, widths, strict=True))]
             for each in rows]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def verdict(speeds: dict[str, Speed], best: str) -> str:
    """Whether the costs in conf/ have chosen what is fastest here, and what to do if not."""
    fastest = max(speeds, key=lambda name: speeds[name].decode)
    share = speeds[best].decode / speeds[fastest].decode
    if share >= 1 - choice.TIE:
        return f"models/onnx/best is {best}: the fastest here, or within {choice.TIE:.0%} of it."
    return (f"models/onnx/best is {best}, {1 - share:.0%} slower here than {fastest}: "
            f"`dvc exp run -S export.best={fastest}` ships that one.")  # fmt: skip


def plot(speeds: dict[str, Speed], facts: dict[str, Any]) -> str:
    """An SVG of tokens a second against ROUGE-L; a line joins the variants that no other beats in both."""
    points = {name: (speed.decode, facts["parity"][name]["rouge"]) for name, speed in speeds.items()}
    front = sorted(name for name, (x, y) in points.items() if not any(u > x and v > y for u, v in points.values()))
    front.sort(key=lambda name: points[name])
    most = max(x for x, _ in points.values()) * 1.15
    low, high = (f(y for _, y in points.values()) for f in (min, max))
    margin = max((high - low) * 0.25, 0.005)

    def at(name: str) -> tuple[float, float]:
        x, y = points[name]
        up = (y - low + margin) / (high - low + 2 * margin)
        return EDGE + x / most * (WIDTH - 2 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE)

    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in map(at, front))
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{"#d33" if name == facts["best"] else "#36c"}"/>'
        f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{escape(name)} {points[name][0]:.0f}</text>'
        for name, (x, y) in ((name, at(name)) for name in points)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<path d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="#888"/>'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 25}" text-anchor="middle">tokens a second, one row</text>'
        f'<text x="{EDGE}" y="{EDGE - 20}" text-anchor="middle">ROUGE-L</text>'
        f'<text x="{EDGE - 8}" y="{EDGE + 5}" text-anchor="end">{high + margin:.3f}</text>'
        f'<text x="{EDGE - 8}" y="{HEIGHT - EDGE}" text-anchor="end">{low - margin:.3f}</text>'
        f'<polyline points="{path}" fill="none" stroke="#36c" stroke-dasharray="4"/>{dots}</svg>\n'
    )
