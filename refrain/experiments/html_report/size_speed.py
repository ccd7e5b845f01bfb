"""Size against speed of the variants, as `refrain bench` measured them."""

from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import paragraph, plain_table
from refrain.experiments.html_report.page import Section

HEIGHT, TOP, BOTTOM, LEFT = 280, 16, 44, 56


def speed_section(speeds: list[dict[str, str]], machine: str) -> Section:
    """The section of a reports/variants.md."""
    said = "What a variant needs on disk, and how many tokens a second it says to one person"
    body = paragraph(f"{said}, on one machine: {machine}" if machine else f"{said}.")
    body += svg.figure(lambda width: draw_speeds(speeds, width), "Best is up and to the left.")
    header = list(speeds[0])[:-1]
    rows = [[f"{row['variant']}, best" if row[""] else row["variant"], *map(group_digits, list(row.values())[1:-1])]
            for row in speeds]  # fmt: skip
    return Section("Size and speed", body + plain_table("Each variant, medians of some rounds", header, rows))


def group_digits(cell: str) -> str:
    """A whole number as one reads it."""
    return f"{int(cell):,}" if cell.isdecimal() else cell


def draw_speeds(speeds: list[dict[str, str]], width: int) -> str:
    """A dot for each variant."""
    points = [(row["variant"], float(row["MB"]), float(row["decode tok/s"]), bool(row[""])) for row in speeds]
    right = width - 24
    x = svg.Scale(0, max(size for _, size, _, _ in points) * 1.1, LEFT, right)
    y = svg.Scale(0, max(speed for _, _, speed, _ in points) * 1.1, HEIGHT - BOTTOM, TOP)
    parts = draw_axes(x, y, right)
    places = svg.spread([y(speed) for _, _, speed, _ in points], 34)
    for (name, size, speed, is_best), place in zip(points, places, strict=True):
        is_left = x(size) > LEFT + (right - LEFT) * 0.6
        at, anchor = (x(size) - 12, "end") if is_left else (x(size) + 12, "start")
        class_ = "strong" if is_best else None
        parts += [svg.circle(x(size), y(speed), 5, f"dot {class_ or ''}".strip()),
                  svg.text(at, place, f"{name}, best" if is_best else name, class_, anchor),
                  svg.text(at, place + 14, f"{size:g} MB, {speed:,.0f} tokens/s", "quiet", anchor)]  # fmt: skip
    said = "; ".join(f"{name} {size:g} MB, {speed:,.0f} tokens a second" for name, size, speed, _ in points)
    return svg.picture(width, HEIGHT, f"Size and speed: {said}", *parts)


def draw_axes(x: svg.Scale, y: svg.Scale, right: float) -> list[str]:
    parts = []
    for value in svg.ticks(y.low, y.high, 5):
        parts += [svg.line(LEFT, y(value), right, y(value), "grid"),
                  svg.text(LEFT - 8, y(value) + 4, f"{value:,g}", "quiet", "end")]  # fmt: skip
    for value in svg.ticks(x.low, x.high, 6):
        parts.append(svg.text(x(value), HEIGHT - BOTTOM + 20, f"{value:g}", "quiet", "middle"))
    parts.append(svg.text((LEFT + right) / 2, HEIGHT - 6, "MB on disk", "quiet", "middle"))
    return [*parts, svg.text(4, TOP - 4, "tokens a second", "quiet")]
