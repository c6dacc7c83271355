"""Heights over level: three small plots, anterior, middle, posterior, with the expected heights and their 90 % band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from VertebralGradingLib.findings import POSITIONS, Finding
from VertebralGradingLib.report import svg
from VertebralGradingLib.report.colors import color_of
from VertebralGradingLib.report.values import at_position, number
from VertebralGradingLib.spine.anatomy import ORDER, axis_position

Z90 = 1.645
"""Standard deviations on each side that hold 90 % of a normal distribution."""
_WIDTH, _HEIGHT = 900.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 26.0, 24.0
_BAND, _LINE = "#dde5ec", "#5b6770"


@dataclass(frozen=True)
class _Reference:
    """Expected height of one vertebra (mm): its place on the level axis, mean, lower and upper end of the band."""

    place: float
    mean: float
    low: float
    high: float


def height_profile(findings: Sequence[Finding]) -> str:
    """The three plots as SVG, on one scale; empty when nothing was measured."""
    places = level_places(findings)
    measured = {p: [number(finding.heights_mm.get(p)) for finding in findings] for p in POSITIONS}
    expected = {p: _references(findings, places, p) for p in POSITIONS}
    values = [v for column in measured.values() for v in column if v is not None]
    if not values:
        return ""
    values += [edge for column in expected.values() for item in column if item for edge in (item.low, item.high)]
    low, high = 5 * np.floor((min(values) - 1) / 5), 5 * np.ceil((max(values) + 1) / 5)
    span = max(places) - min(places)
    inner = _WIDTH - _LEFT - _RIGHT

    def x_of(place: float) -> float:
        return _LEFT + inner * (place - min(places) + 0.6) / (span + 1.2)

    plots = []
    for n, position in enumerate(POSITIONS):
        top = n * _HEIGHT

        def y_of(mm: float, top: float = top) -> float:
            return top + _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (mm - low) / (high - low)

        plots += _axes(findings, places, position, top, (float(low), float(high)), x_of, y_of)
        for run in _runs(expected[position]):
            plots += _band(run, x_of, y_of)
        plots += _dots(findings, places, measured[position], x_of, y_of)
    return svg.svg(_WIDTH, 3 * _HEIGHT, *plots, label="Measured and expected heights in mm over level")


def level_places(findings: Sequence[Finding]) -> list[float]:
    """Places on the horizontal axis: the axis of levels, so that missing levels leave a gap; the order when unnamed."""
    if all(finding.level in ORDER for finding in findings):
        places = [axis_position(finding.level) for finding in findings]
        if len(set(places)) == len(places):
            return places
    return [float(n) for n in range(len(findings))]


def _references(findings: Sequence[Finding], places: list[float], position: str) -> list[_Reference | None]:
    found: list[_Reference | None] = []
    for finding, place in zip(findings, places, strict=True):
        mean = number(at_position(finding, "reference_mm", position))
        sd = number(at_position(finding, "reference_sd_mm", position)) or 0.0
        found.append(None if mean is None else _Reference(place, mean, mean - Z90 * sd, mean + Z90 * sd))
    return found


def _runs(items: list[_Reference | None]) -> list[list[_Reference]]:
    """Unbroken stretches: a missing reference or a missing level ends one."""
    runs: list[list[_Reference]] = []
    previous = None
    for item in items:
        if item is not None:
            if previous is None or item.place - previous.place > 1.01:
                runs.append([])
            runs[-1].append(item)
        previous = item
    return runs


def _axes(
    findings: Sequence[Finding],
    places: list[float],
    position: str,
    top: float,
    limits: tuple[float, float],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
) -> list[str]:
    step = 5 if limits[1] - limits[0] <= 25 else 10
    parts = [svg.text(_LEFT, top + 15, f"{position.capitalize()} height (mm)", 12.5, font_weight=600)]
    for mm in np.arange(np.ceil(limits[0] / step) * step, limits[1] + 0.1, step):
        y = y_of(float(mm))
        parts.append(svg.line(_LEFT, y, _WIDTH - _RIGHT, y, stroke="#e9ecef", stroke_width=1))
        parts.append(svg.text(_LEFT - 7, y + 4, f"{mm:.0f}", 11, svg.PALE, text_anchor="end"))
    base = top + _HEIGHT - _BOTTOM
    parts.append(svg.line(_LEFT, base, _WIDTH - _RIGHT, base, stroke="#9aa3ab", stroke_width=1))
    for finding, place in zip(findings, places, strict=True):
        x = x_of(place)
        known = number(finding.heights_mm.get(position)) is not None
        parts.append(svg.line(x, base, x, base + 4, stroke="#9aa3ab", stroke_width=1))
        parts.append(svg.text(x, base + 16, finding.level, 11.5, svg.INK if known else svg.PALE, text_anchor="middle"))
        if not known:
            parts.append(svg.text(x, base - 5, "–", 12, svg.PALE, text_anchor="middle"))
    return parts


def _band(run: list[_Reference], x_of: Callable[[float], float], y_of: Callable[[float], float]) -> list[str]:
    """Reference line and band; a run of one becomes a short dash."""
    if len(run) == 1:
        run = [_Reference(run[0].place + shift, run[0].mean, run[0].low, run[0].high) for shift in (-0.25, 0.25)]
    upper = [(x_of(item.place), y_of(item.high)) for item in run]
    lower = [(x_of(item.place), y_of(item.low)) for item in reversed(run)]
    middle = [(x_of(item.place), y_of(item.mean)) for item in run]
    return [svg.polygon([*upper, *lower], fill=_BAND), svg.polyline(middle, stroke=_LINE, stroke_width=1.5)]


def _dots(
    findings: Sequence[Finding],
    places: list[float],
    heights: list[float | None],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
) -> list[str]:
    parts = []
    for finding, place, height in zip(findings, places, heights, strict=True):
        if height is None:
            continue
        x, y = x_of(place), y_of(height)
        color = color_of(finding)
        parts.append(svg.circle(x, y, 5, fill=color.color, stroke=svg.INK, stroke_width=1))
        if finding.final_grade:
            parts.append(svg.text(x + 9, y + 4, finding.final_grade, 11.5, font_weight=700))
    return parts
