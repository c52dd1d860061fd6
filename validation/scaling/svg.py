"""Line plots as SVG, with nothing but text: both axes logarithmic or linear, ranges as bars, a dashed ideal."""
import dataclasses
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 340, 70, 20, 40, 55
COLOURS = ("#0b6fb8", "#c4500c", "#3a7d34", "#7a4fa3")


@dataclasses.dataclass
class Line:
    label: str
    x: list
    y: list
    low: list = dataclasses.field(default_factory=list)
    high: list = dataclasses.field(default_factory=list)
    dashed: bool = False


@dataclasses.dataclass
class Panel:
    title: str
    x_label: str
    y_label: str
    lines: list
    log_y: bool = False


class Axis:
    def __init__(self, values, logarithmic, first, last):
        self.logarithmic, self.first, self.last = logarithmic, first, last
        known = [self.scale(value) for value in values] or [0.0, 1.0]
        self.low, self.high = min(known), max(known)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def scale(self, value):
        return math.log(value) if self.logarithmic else value

    def place(self, value):
        return self.first + (self.scale(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self):
        """About five: round numbers on a linear axis, equal factors on a logarithmic one."""
        if self.logarithmic:
            return [math.exp(self.low + (self.high - self.low) * i / 4) for i in range(5)]
        power = 10 ** math.floor(math.log10(self.high - self.low))
        step = next(step for step in (0.2 * power, 0.5 * power, power, 2 * power)
                    if (self.high - self.low) / step <= 6)
        return [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def text(x, y, words, anchor="middle", rotate=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{rotate}>{escape(words)}</text>'


def stroke(x1, y1, x2, y2, colour="#bbbbbb"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def draw_line(line, colour, x_axis, y_axis):
    points = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(line.x, line.y)]
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>']
    if not line.dashed:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    for (x, _), low, high in zip(points, line.low, line.high):
        parts.append(stroke(x, y_axis.place(low), x, y_axis.place(high), colour))
    return parts


def draw_axes(panel, x_axis, y_axis):
    parts = []
    for value in sorted({x for line in panel.lines for x in line.x}):
        x = x_axis.place(value)
        parts += [stroke(x, HEIGHT - BOTTOM, x, TOP), text(x, HEIGHT - BOTTOM + 16, f"{value:g}")]
    for value in y_axis.ticks():
        y = y_axis.place(value)
        parts += [stroke(LEFT, y, WIDTH - RIGHT, y), text(LEFT - 6, y + 4, f"{value:.3g}", "end")]
    parts += [text(WIDTH / 2, 18, panel.title), text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, panel.x_label),
              text(16, HEIGHT / 2, panel.y_label, rotate=f' transform="rotate(-90 16 {HEIGHT / 2:.0f})"')]
    return parts


def draw_panel(panel, offset):
    """Numbers that are NaN are left out; x counts by factors of two."""
    lines = []
    for line in panel.lines:
        kept = [i for i, y in enumerate(line.y) if not math.isnan(y)]
        lines.append(dataclasses.replace(line, **{name: [values[i] for i in kept] if values else [] for name, values in
                                                  (("x", line.x), ("y", line.y), ("low", line.low),
                                                   ("high", line.high))}))
    heights = [y for line in lines for y in [*line.y, *line.low, *line.high]]
    x_axis = Axis([x for line in panel.lines for x in line.x], True, LEFT + 10, WIDTH - RIGHT - 10)
    y_axis = Axis(heights if panel.log_y else [0.0, *heights], panel.log_y, HEIGHT - BOTTOM, TOP)
    parts = draw_axes(panel, x_axis, y_axis)
    for number, line in enumerate(lines):
        colour = "#777777" if line.dashed else COLOURS[number % len(COLOURS)]
        parts += draw_line(line, colour, x_axis, y_axis)
        parts.append(f'<g fill="{colour}">{text(LEFT + 8, HEIGHT - BOTTOM - 8 - 15 * number, line.label, "start")}</g>')
    return [f'<g transform="translate({offset} 0)">', *parts, "</g>"]


def write(path, panels):
    width = WIDTH * len(panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
             f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{HEIGHT}" fill="white"/>']
    for number, panel in enumerate(panels):
        parts += draw_panel(panel, number * WIDTH)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*parts, "</svg>"]) + "\n")
