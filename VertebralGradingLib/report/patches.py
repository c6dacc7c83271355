"""The strip of sagittal patches: each vertebra in the plane it was measured in, with its six points."""

from __future__ import annotations

import html

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.findings import POSITIONS, Finding
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report import svg
from VertebralGradingLib.report.canvas import encode_png
from VertebralGradingLib.report.colors import caption, color_of
from VertebralGradingLib.report.marks import center, six_points
from VertebralGradingLib.report.pictures import label_picture, to_gray
from VertebralGradingLib.report.sentences import hypothesis_text
from VertebralGradingLib.report.values import fixed
from VertebralGradingLib.spine.curve import ANTERIOR, SUPERIOR, axes_from
from VertebralGradingLib.spine.reformation import Grid, rigid_grid
from VertebralGradingLib.spine.spine import Spine

PATCH_MM = 96
_STEP_MM = 0.5
_PIXELS_PER_MM = 2.0
_SCALE_MM = 20


def strip(findings: tuple[Finding, ...], volume: Volume, spine: Spine | None, is_mask: bool) -> str:
    """All patches with their captions, as HTML."""
    cards = [_card(finding, volume, spine, is_mask) for finding in findings if np.isfinite(center(finding)).all()]
    return f'<div class="strip">{"".join(cards)}</div>'


def patch_grid(finding: Finding, spine: Spine | None) -> Grid:
    """Grid of a patch of 96 x 96 mm: the plane through the six points in the body's own frame when it was measured.

    Otherwise the plane through the centre in the spine's frame there, or in the patient's when there is no spine.
    """
    points = six_points(finding)
    if points is not None:
        up = (points[0::2] - points[1::2]).mean(0)
        forward = points[:2].mean(0) - points[4:].mean(0)
        if min(np.linalg.norm(up), np.linalg.norm(forward)) > 1.0:
            axes = axes_from(up, forward)
            sideways = (points.mean(0) - center(finding)) @ axes[:, 0]
            return _grid(center(finding) + sideways * axes[:, 0], axes)
    vertebra = spine.by_level.get(finding.level) if spine is not None else None
    axes = axes_from(SUPERIOR, ANTERIOR) if spine is None or vertebra is None else spine.axes(vertebra)
    return _grid(center(finding), axes)


def _grid(middle: NDArray[np.float64], axes: NDArray[np.float64]) -> Grid:
    edge = round(PATCH_MM / _STEP_MM)
    return rigid_grid(middle, axes, (edge, edge, 1), _STEP_MM)


def _card(finding: Finding, volume: Volume, spine: Spine | None, is_mask: bool) -> str:
    color = color_of(finding)
    below = ""
    if finding.heights_mm:
        values = " · ".join(f"{name[0].upper()} {fixed(finding.heights_mm.get(name))}" for name in POSITIONS)
        below = f"<small>{html.escape(values)} mm</small>"
    if finding.excluded:
        below += f'<small class="t">{html.escape(finding.exclusion_text)}</small>'
    elif finding.undecided:
        below += "".join(f'<small class="t">{html.escape(hypothesis_text(one))}</small>' for one in finding.hypotheses)
    return (
        f"<figure>{patch_svg(finding, volume, spine, is_mask)}<figcaption>"
        f'<span class="swatch" style="background:{html.escape(color.color)}"></span>'
        f"<b>{html.escape(finding.level)}</b> {html.escape(caption(finding))}{below}</figcaption></figure>"
    )


def patch_svg(finding: Finding, volume: Volume, spine: Spine | None, is_mask: bool) -> str:
    """One patch with the six points and the lines along which heights are measured."""
    grid = patch_grid(finding, spine)
    image = sample(volume, grid.points(), order=0 if is_mask else 1)[..., 0]
    edge = PATCH_MM * _PIXELS_PER_MM
    gray = label_picture(image) if is_mask else to_gray(image)
    parts = [svg.picture(encode_png(gray), 0, 0, edge, edge)]
    points = six_points(finding)
    if points is not None:
        pixels = (grid.to_index(points)[:, 1::-1] + 0.5) * (_STEP_MM * _PIXELS_PER_MM)
        color = color_of(finding).color
        for (x1, y1), (x2, y2) in zip(pixels[0::2], pixels[1::2], strict=True):
            parts.append(svg.line(x1, y1, x2, y2, stroke="#000000", stroke_opacity=0.5, stroke_width=2.4))
            parts.append(svg.line(x1, y1, x2, y2, stroke=color, stroke_width=1))
        parts += [svg.circle(x, y, 2.4, fill=color, stroke="#000000", stroke_width=0.8) for x, y in pixels]
    parts += [
        svg.halo_text(5, 15, "A", 11, font_weight=700),
        svg.halo_text(edge - 5, 15, "P", 11, font_weight=700, text_anchor="end"),
        svg.scale_bar(edge - 6, edge - 6, _SCALE_MM * _PIXELS_PER_MM, f"{_SCALE_MM} mm"),
    ]
    label = f"{finding.level}, sagittal, anterior left, {PATCH_MM} mm wide"
    return svg.svg(edge, edge, *parts, label=label)
