#!/usr/bin/env python3
"""Draws what each stage of a boot costs: bench/boot_picture.py OUT.svg APP... counts and draws.
One block an application, one stacked bar a measure, each bar as long as its total; the standard
library alone."""

import sys
from html import escape
from pathlib import Path

# From the first stage to the last, so that neighbours differ; dark writing is read on all of them.
COLOURS = ("#7fa3cc", "#c3dcf0", "#f5a65b", "#ffd3a3", "#86c27d", "#bfe3b0", "#d0b95f", "#f5e08f",
           "#74b5b0", "#b9dcd8", "#ee8a8b", "#ffc2c0", "#ada49f", "#c9a0d6", "#e6d0ee")
WIDTH, LEFT, RIGHT, BAR, GAP, LINE = 960, 200, 90, 26, 12, 16

# title, key of a stage's figure, the last stage it is added up to (None: all)
MEASURES = (("instructions to main", "insns", "main"), ("instructions, all", "insns", None),
            ("device accesses", "accesses", None), ("page faults", "faults", None))


class Drawing:
    def __init__(self):
        self.parts, self.y = [], 10

    def text(self, x, y, words, anchor="start", weight="normal", size=12):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'font-weight="{weight}" fill="#222">{escape(words)}</text>')

    def box(self, x, y, width, height, fill, title):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height}" '
                          f'fill="{fill}"><title>{escape(title)}</title></rect>')

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y}" '
                f'viewBox="0 0 {WIDTH} {self.y}" font-family="sans-serif">\n'
                f'<rect width="{WIDTH}" height="{self.y}" fill="#fff"/>\n'
                + "\n".join(self.parts) + "\n</svg>\n")


def bar(drawing, title, stages, key, colours):
    total = sum(s[key] for s in stages)
    drawing.text(LEFT - 8, drawing.y + BAR * 0.68, title, "end")
    x = LEFT
    for stage in stages:
        width = (WIDTH - LEFT - RIGHT) * stage[key] / total if total else 0
        if not width:
            continue
        drawing.box(x, drawing.y, width, BAR, colours[stage["stage"]],
                    f"{stage['stage']}: {stage[key]:,}")
        label = f"{stage['stage']} {stage[key]:,}"
        if width > 6.4 * len(label):
            drawing.text(x + 4, drawing.y + BAR * 0.66, label, size=11)
        x += width
    drawing.text(WIDTH - RIGHT + 8, drawing.y + BAR * 0.68, f"{total:,}", weight="bold")
    drawing.y += BAR + GAP


def legend(drawing, colours):
    x = LEFT
    for name, colour in colours.items():
        if x + 90 > WIDTH:
            x, drawing.y = LEFT, drawing.y + LINE + 4
        drawing.box(x, drawing.y, 12, 12, colour, name)
        drawing.text(x + 16, drawing.y + 11, name, size=11)
        x += 96
    drawing.y += LINE + GAP


def draw(stages_of, path):
    """stages_of: {application: count.stages(...)}."""
    names = list(dict.fromkeys(s["stage"] for stages in stages_of.values() for s in stages))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    drawing = Drawing()
    for app, stages in stages_of.items():
        drawing.text(10, drawing.y + LINE, app, weight="bold", size=15)
        drawing.y += LINE + GAP
        for title, key, last in MEASURES:
            up_to = [s["stage"] for s in stages].index(last) + 1 if last else len(stages)
            bar(drawing, title, stages[:up_to], key, colours)
    legend(drawing, colours)
    Path(path).write_text(drawing.svg(), encoding="utf-8")


def main():
    root = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(root / "scripts"), str(root)]
    from bench import count
    from vmkit import vm

    if len(sys.argv) < 3 or not sys.argv[1].endswith(".svg"):
        sys.exit(__doc__)
    draw({name: count.stages(vm.App(name)) for name in sys.argv[2:]}, sys.argv[1])


if __name__ == "__main__":
    main()
