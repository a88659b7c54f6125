"""Make one figure from the report of `otolith demo`: scores on held-out people, and a labelled recording.

    otolith demo && python benchmarks/demo_figure.py runs/demo/report.html docs/images/demo.svg

The figures are those of the report, next to each other in one SVG that follows light and dark. SPAR's licence (BSD-3-Clause)
allows the signal to be shown.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from otolith.reports.html import render
from otolith.storage.files import write_text

WANTED = (r"Macro F1 with 10 windows", r"Acceleration and labels of")
"""How the alternative texts of the two figures begin."""
WIDTH, GAP, EDGE = 430, 40, 12
"""Width of each figure, distance between them, and margin, in pixels."""
FONT = 'text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }'


def figures(report: str) -> list[tuple[str, str, float]]:
    """Return alternative text, SVG without its outer element's attributes, and height at `WIDTH` of the wanted figures."""
    found = []
    for start in WANTED:
        match = re.search(rf'<svg[^>]*aria-label="({start}[^"]*)"[^>]*>.*?</svg>', report, re.DOTALL)
        if match is None:
            raise SystemExit(f"no figure '{start} ...' in the report; expected the report of otolith demo")
        box = re.search(r'viewBox="([^"]+)"', match[0])
        assert box is not None
        wide, high = map(float, box[1].split()[2:])
        inner = match[0].partition(">")[2].removesuffix("</svg>")
        found.append((match[1], f'viewBox="{box[1]}">{inner}', WIDTH * high / wide))
    return found


def colours() -> str:
    """Return the variables of the pages' style sheet, for light and dark."""
    sheet = render("style.css")
    root = re.findall(r":root \{[^}]*\}", sheet)
    return (
        f"{root[0].replace(':root', 'svg')} @media (prefers-color-scheme: dark) {{ {root[1].replace(':root', 'svg')} }}"
    )


def together(found: list[tuple[str, str, float]]) -> str:
    """Return one SVG of figures side by side."""
    height = max(high for *_, high in found)
    width = 2 * EDGE + len(found) * WIDTH + (len(found) - 1) * GAP
    parts = [
        f'<svg x="{EDGE + place * (WIDTH + GAP)}" y="{EDGE + (height - high) / 2:.1f}" width="{WIDTH}" height="{high:.1f}" '
        f"{svg}</svg>"
        for place, (_, svg, high) in enumerate(found)
    ]
    told = " ".join(alt for alt, *_ in found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 2 * EDGE:.1f}" role="img" '
        f'aria-label="{told}">\n<style>{colours()}\nsvg {{ fill: var(--ink); }} {FONT}</style>\n'
        f'<rect width="100%" height="100%" style="fill: var(--paper)"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.html of otolith demo")
    parser.add_argument("out", type=Path, help="the SVG")
    arguments = parser.parse_args()
    write_text(arguments.out, together(figures(arguments.report.read_text(encoding="utf-8"))))
