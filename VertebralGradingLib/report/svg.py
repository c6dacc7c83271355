"""Pieces of SVG as text. Every attribute and every text is escaped here, once."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

INK = "#1f2328"
PALE = "#6b747d"
HAIR = "#d5dade"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

Pixels = Iterable[Sequence[float]]
"""Points as (x, y)."""


def element(tag: str, content: str | None = None, **attributes: Any) -> str:
    """One element; ``stroke_width`` becomes ``stroke-width``, None is left out, numbers are rounded to 0.01.

    Args:
        tag: name of the element.
        content: markup inside, already escaped.
        attributes: values of any kind.
    """
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{pairs}/>" if content is None else f"<{tag}{pairs}>{content}</{tag}>"


def svg(width: float, height: float, *children: str, label: str) -> str:
    """A drawing that shrinks with the page and never grows; ``label`` is what it shows, for screen readers."""
    return element(
        "svg",
        "".join(children),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        font_family=FONT,
    )


def text(x: float, y: float, string: Any, size: float = 12, fill: str = INK, **more: Any) -> str:
    """A text whose baseline starts at (x, y); ``text_anchor`` moves it."""
    return element("text", html.escape(str(string)), x=x, y=y, font_size=size, fill=fill, **more)


def halo_text(x: float, y: float, string: Any, size: float = 12, **more: Any) -> str:
    """White text with a dark rim, readable on any grey."""
    rim = {"stroke": "#000000", "stroke_opacity": 0.75, "stroke_width": 2.5, "paint_order": "stroke"}
    return text(x, y, string, size, "#ffffff", **{**rim, **more})


def line(x1: float, y1: float, x2: float, y2: float, **more: Any) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **more)


def polyline(points: Pixels, **more: Any) -> str:
    """An open line, not filled."""
    return element("polyline", points=_points(points), **{"fill": "none", **more})


def polygon(points: Pixels, **more: Any) -> str:
    """A closed line."""
    return element("polygon", points=_points(points), **more)


def circle(x: float, y: float, radius: float, **more: Any) -> str:
    """A disc or ring."""
    return element("circle", cx=x, cy=y, r=radius, **more)


def rect(x: float, y: float, width: float, height: float, **more: Any) -> str:
    """A rectangle."""
    return element("rect", x=x, y=y, width=width, height=height, **more)


def picture(png: bytes, x: float, y: float, width: float, height: float) -> str:
    """An embedded PNG."""
    uri = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return element("image", x=x, y=y, width=width, height=height, href=uri, preserveAspectRatio="none")


def scale_bar(x: float, y: float, length: float, caption: str) -> str:
    """A horizontal bar that ends at (x, y), with its length written above."""
    path = [(x - length, y - 4), (x - length, y), (x, y), (x, y - 4)]
    return (
        polyline(path, stroke="#000000", stroke_opacity=0.6, stroke_width=4)
        + polyline(path, stroke="#ffffff", stroke_width=1.5)
        + halo_text(x - length / 2, y - 7, caption, 11, text_anchor="middle")
    )


def _points(points: Pixels) -> str:
    return " ".join(f"{_value(x)},{_value(y)}" for x, y in points)


def _value(value: Any) -> str:
    return str(value) if isinstance(value, (str, bool, int)) else f"{float(value):.2f}".rstrip("0").rstrip(".")
