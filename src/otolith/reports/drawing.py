"""Figures as inline SVG: the colours follow the page's theme, text is text, and values appear as tooltips."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from otolith.reports.style import STYLE

THEME = {
    "#000000": "ink",
    "#333333": "dark",
    "#555555": "soft",
    "#666666": "grey",
    "#9a9a9a": "silver",
    "#aaaaaa": "pale",
    "#e6e6e6": "line",
    "#0072b2": "blue",
    "#56b4e9": "sky",
    "#e69f00": "orange",
    "#d55e00": "red",
    "#009e73": "green",
    "#117733": "forest",
    "#cc79a7": "pink",
    "#8a6fb0": "mauve",
    "#6a3d9a": "violet",
    "#b8a800": "olive",
    "#8c510a": "brown",
    "#4c78a8": "x",
    "#f58518": "y",
    "#54a24b": "z",
}
"""Variable of the style sheet (`templates/style.css`: a value for light, one for dark) of each colour of a figure."""

_TIPS = "tips:"
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def add_tips(artist: Artist, texts: Sequence[str]) -> None:
    """Give the points of a line's markers or of a scatter their tooltips, in the order in which they are drawn."""
    artist.set_gid(_TIPS + json.dumps(list(texts)))


def inline_svg(figure: Figure, alt: str) -> Markup:
    """Return a figure as an SVG element for a page.

    Args:
        figure: of matplotlib; `add_tips` has marked the artists that get tooltips.
        alt: what the figure shows, for those who cannot see it.

    Raises:
        ValueError: an artist has another number of tooltips than points.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True, dpi=200)
    root = ElementTree.fromstring(buffer.getvalue())
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "role": "img", "aria-label": alt}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = {value[1:] for node in root.iter() for key, value in node.attrib.items() if key == f"{{{_XLINK}}}href"}
    used |= {name for node in root.iter() for name in re.findall(r"url\(#([^)]+)\)", " ".join(node.attrib.values()))}
    prefix = hashlib.sha256(f"{alt}{box}".encode()).hexdigest()[:6]
    for node in root.iter():
        if (name := node.attrib.pop("id", "")).startswith(_TIPS):
            _insert_tips(node, json.loads(name.removeprefix(_TIPS)))
        elif name in used:
            node.set("id", f"{prefix}{name}")
        for key, value in list(node.attrib.items()):
            if key == f"{{{_XLINK}}}href":
                del node.attrib[key]
                node.set("href", f"#{prefix}{value[1:]}" if value.startswith("#") else value)
            elif key in ("style", "clip-path"):
                node.set(key, _themed(value.replace("url(#", f"url(#{prefix}")))
    ElementTree.register_namespace("", _SVG)
    text = ElementTree.tostring(root, encoding="unicode").replace(f' xmlns="{_SVG}"', "", 1)
    return Markup(re.sub(r">\s+<", "><", text))


def _insert_tips(group: ElementTree.Element, texts: Iterable[str]) -> None:
    points = list(group.iter(f"{{{_SVG}}}use"))
    texts = list(texts)
    if len(points) != len(texts):
        raise ValueError(f"{len(texts)} tooltips for {len(points)} points")
    for point, text in zip(points, texts, strict=True):
        ElementTree.SubElement(point, f"{{{_SVG}}}title").text = text


def _themed(style: str) -> str:
    """Replace the colours of `THEME` in a style, and drop its font family, so that the page's is used."""
    style = re.sub(r"\s*font(?:-family)?: [^;]*'[^;]*;?", _size_alone, style)
    return re.sub(r"#[0-9a-f]{6}", lambda found: f"var(--{THEME[found[0]]})" if found[0] in THEME else found[0], style)


def _size_alone(found: re.Match[str]) -> str:
    """Return the size and weight of a font without its family."""
    size, weight = re.search(r"[\d.]+px", found[0]), re.search(r"\b(bold|[5-9]00)\b", found[0])
    return (f" font-size: {size[0]};" if size else "") + (" font-weight: 600;" if weight else "")
