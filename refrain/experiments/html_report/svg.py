"""Pictures in SVG that take their colours from the page: scales, axes, labels that do not meet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

from refrain.experiments.html_report.markup import escape, tag

WIDE, NARROW = 640, 340  # of the two drawings of a picture, in CSS pixels: for a page, and for a telephone
LINE = 16  # from one line of text to the next


@dataclass(frozen=True)
class Scale:
    """Values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two, at most so many."""
    span = high - low
    if not span > 0:
        return [low]
    step = next(
        step
        for power in range(floor(log10(span)) - 2, floor(log10(span)) + 2)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if floor(high / step + 1e-9) - ceil(low / step - 1e-9) < most
    )
    return [round(i * step, 12) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def figure(draw: Callable[[int], str], caption: str = "") -> str:
    """A picture at both widths, of which the page shows one."""
    pictures = [tag("div", draw(width), class_=kind) for kind, width in (("wide", WIDE), ("narrow", NARROW))]
    return tag("figure", "".join(pictures) + (tag("figcaption", escape(caption)) if caption else ""))


def picture(width: int, height: float, label: str, *parts: str) -> str:
    """What is drawn, with a sentence for those who do not see it."""
    box = f"0 0 {width} {number(height)}"
    return tag("svg", "".join(parts), viewBox=box, width=width, height=number(height), role="img", aria_label=label)


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return tag("line", "", x1=number(x1), y1=number(y1), x2=number(x2), y2=number(y2), class_=class_)


def circle(x: float, y: float, radius: float, class_: str) -> str:
    return tag("circle", "", cx=number(x), cy=number(y), r=number(radius), class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str) -> str:
    return tag("rect", "", x=number(x), y=number(y), width=number(width), height=number(height), class_=class_)


def text(x: float, y: float, words: str, class_: str | None = None, anchor: str | None = None) -> str:
    """Words at a baseline; `anchor` is start, middle or end."""
    return tag("text", escape(words), x=number(x), y=number(y), class_=class_, text_anchor=anchor)


def path(points: Sequence[tuple[float, float]], class_: str) -> str:
    """A line through points."""
    steps = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return tag("polyline", "", points=steps, class_=class_)


def spread(wanted: Sequence[float], gap: float = LINE) -> list[float]:
    """Places for labels near where they are wanted, none nearer to another than the gap; later ones give way downwards,
    and all move up by half of what that took."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = list(wanted)
    for before, i in pairwise(order):
        places[i] = max(places[i], places[before] + gap)
    shift = max((places[i] - wanted[i] for i in order), default=0.0) / 2
    return [place - shift for place in places]
