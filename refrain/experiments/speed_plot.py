"""A picture of variants: size against speed, with the spread of the rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from refrain.experiments import pictures


@dataclass(frozen=True)
class Point:
    name: str
    megabytes: float
    speeds: Sequence[float]  # tokens a second, of each round
    rouge: float
    is_best: bool

    def values(self) -> dict[str, Any]:
        """What is drawn of it, under the names that `build_spec` uses."""
        speed = median(self.speeds)
        label = f"{self.name}: {self.megabytes:.1f} MB, {speed:.0f} tokens/s, ROUGE-L {self.rouge:.3f}"
        return {
            "variant": label + (" (best)" if self.is_best else ""),
            "size": self.megabytes,
            "slowest": min(self.speeds),
            "speed": speed,
            "fastest": max(self.speeds),
            "is_best": self.is_best,
        }


def build_spec(points: Sequence[Point]) -> dict[str, Any]:
    """The picture in Vega-Lite. Labels stand in the legend, where none hides another, and both axes begin at zero."""
    subtitle = f"point: median of {len(points[0].speeds)} rounds; line: slowest to fastest; ring: the best"
    legend = {"title": None, "orient": "bottom", "direction": "vertical", "labelLimit": 560}
    variant = {"field": "variant", "type": "nominal", "sort": None, "legend": legend}
    median_speed = {"field": "speed", "type": "quantitative"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": [point.values() for point in points]},
        "title": {"text": "Size and speed of the variants", "subtitle": subtitle, "anchor": "start", "offset": 12},
        "width": 560,
        "height": 280,
        "encoding": {"x": {"field": "size", "type": "quantitative", "title": "size on disk (MB)"}},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": pictures.INK},
                "encoding": {
                    "y": {
                        "field": "slowest",
                        "type": "quantitative",
                        "title": "decoded tokens per second, one sequence",
                        "scale": {"zero": True},
                    },
                    "y2": {"field": "fastest"},
                },
            },
            {
                "mark": {"type": "point", "size": 110, "filled": True, "opacity": 1},
                "encoding": {
                    "y": median_speed,
                    "color": {**variant, "scale": {"range": pictures.COLOURS}},
                    "shape": variant,
                },
            },
            {
                "transform": [{"filter": "datum.is_best"}],
                "mark": {"type": "point", "size": 420, "strokeWidth": 2},
                "encoding": {"y": median_speed, "color": {"value": pictures.INK}},
            },
        ],
        "config": pictures.STYLE,
    }
