"""A plot of variants in SVG: tokens a second against ROUGE-L."""

from html import escape

Points = dict[str, tuple[float, float]]  # tokens a second and ROUGE-L of each variant
Pixels = dict[str, tuple[float, float]]  # where its dot is drawn, from the upper left corner

WIDTH, HEIGHT, EDGE = 640, 320, 70  # EDGE lies between the axes and the border
BEST_COLOUR, COLOUR = "#d33", "#36c"


def draw_plot(points: Points, best: str) -> str:
    """The plot; a line joins the variants that no other beats in both."""
    lowest, highest = (extreme(rouge for _, rouge in points.values()) for extreme in (min, max))
    margin = max((highest - lowest) * 0.25, 0.005)
    pixels = place_points(points, lowest, highest, margin)
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in (pixels[name] for name in pareto_front(points)))
    labels = {name: f"{name} {speed:.0f}" for name, (speed, _) in points.items()}
    dots = "".join(draw_dot(*pixels[name], label, name == best) for name, label in labels.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f"{draw_axes(lowest - margin, highest + margin)}"
        f'<polyline points="{line}" fill="none" stroke="{COLOUR}" stroke-dasharray="4"/>{dots}</svg>\n'
    )


def pareto_front(points: Points) -> list[str]:
    """The variants that no other beats in both, from slow to fast."""

    def is_beaten(speed: float, rouge: float) -> bool:
        return any(other > speed and better > rouge for other, better in points.values())

    front = sorted(name for name, point in points.items() if not is_beaten(*point))
    return sorted(front, key=lambda name: points[name])


def place_points(points: Points, lowest: float, highest: float, margin: float) -> Pixels:
    """Speeds from 0 to the right, ROUGE-L upwards from a margin below the lowest to one above the highest."""
    fastest = max(speed for speed, _ in points.values()) * 1.15
    pixels = {}
    for name, (speed, rouge) in points.items():
        height = (rouge - lowest + margin) / (highest - lowest + 2 * margin)
        x = EDGE + speed / fastest * (WIDTH - 2 * EDGE)
        pixels[name] = x, HEIGHT - EDGE - height * (HEIGHT - 2 * EDGE)
    return pixels


def draw_axes(bottom: float, top: float) -> str:
    """Both axes with their names, and the numbers at the ends of the upright one."""
    return (
        f'<path d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="#888"/>'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 25}" text-anchor="middle">tokens a second, one row</text>'
        f'<text x="{EDGE}" y="{EDGE - 20}" text-anchor="middle">ROUGE-L</text>'
        f'<text x="{EDGE - 8}" y="{EDGE + 5}" text-anchor="end">{top:.3f}</text>'
        f'<text x="{EDGE - 8}" y="{HEIGHT - EDGE}" text-anchor="end">{bottom:.3f}</text>'
    )


def draw_dot(x: float, y: float, label: str, is_best: bool) -> str:
    return (
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{BEST_COLOUR if is_best else COLOUR}"/>'
        f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{escape(label)}</text>'
    )
