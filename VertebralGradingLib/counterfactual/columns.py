"""The knots of a field's columns: out of plates, their movement, and where the arches part behind the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from VertebralGradingLib.counterfactual.field import Field, Rigid
from VertebralGradingLib.counterfactual.plates import AHEAD, Plates

Floats = NDArray[np.float64]

PLATE_MM = 2.5
"""What lies so near an endplate moves with it; only the core is stretched (measured: likeness rises by .02 to .03)."""
PLATE_SHARE = 0.3
"""Of the height, at most, that a plate's layer takes."""
TILT_SHARE = 0.6
"""Of the change of the angle between the endplates, by which the spine above tips over. Assumed."""
SINK_SHARE = 0.5
"""Of the mean loss of height, by which the spine above sinks at the middle of the endplate. Assumed."""
LEAST_DISC = 0.4
"""Share of a disc's height that is left to it."""
BEHIND_MM = 8.0
"""From the back wall on, the movement of the endplates dies out over so much: the arch keeps its place."""
_SMOOTH_MM = 1.0


@dataclass(frozen=True)
class Posture:
    """How much of a fracture the spine above follows.

    Attributes:
        tilt_share: see :data:`TILT_SHARE`.
        sink_share: see :data:`SINK_SHARE`.
    """

    tilt_share: float = TILT_SHARE
    sink_share: float = SINK_SHARE


def rigid_of(p: Plates, change_mm: Floats, top: Floats, posture: Posture) -> Rigid:
    """How the spine above moves when heights change; it never sinks into the upper endplate.

    Args:
        p: the plates.
        change_mm: (3,) of anterior, middle and posterior height.
        top: (ahead, left) how far the upper endplate goes up.
        posture: what the spine above follows of it.
    """
    wedged = float(np.arctan2(change_mm[2] - change_mm[0], p.span_mm))
    falling = change_mm.mean() < 0.0
    tilt = posture.tilt_share * (max(wedged, 0.0) if falling else min(wedged, 0.0))  # no fracture bends a spine back
    rigid = Rigid(float(p.pivot[0]), float(p.pivot[1]), tilt, -posture.sink_share * float(change_mm.mean()))
    ahead = np.broadcast_to(AHEAD[:, None], top.shape)
    disc = p.above - p.top
    left_over = disc + rigid.risen(ahead, p.above) - top
    lacking = float(np.percentile((LEAST_DISC * disc - left_over)[p.core], 98))
    return Rigid(rigid.pivot_ahead, rigid.pivot_up, tilt, rigid.sink_mm - max(lacking, 0.0))


def field_of(p: Plates, center: Floats, axes: Floats, top: Floats, bottom: Floats, rigid: Rigid, seam: Floats) -> Field:
    """The field that moves plates.

    Args:
        p: the plates as they are.
        center: (3,) RAS mm of the body block.
        axes: (3, 3) of the body's own frame.
        top: (ahead, left) how far the upper endplate goes up (mm).
        bottom: the same of the lower one.
        rigid: how the spine above moves.
        seam: (ahead, left) height at which, behind the body, the arch of the vertebra above begins (mm).
    """
    ahead = np.broadcast_to(AHEAD[:, None], top.shape)
    behind = np.clip((p.back[None] - ahead) / BEHIND_MM, 0.0, 1.0)
    behind = behind * behind * (3.0 - 2.0 * behind)
    # no plate may pass through the other: at least a fifth of the height is left anywhere
    height = p.top - p.bottom
    new = np.maximum(height + top - bottom, 0.2 * height)
    top = new - height + bottom
    layer = np.minimum(PLATE_MM, PLATE_SHARE * np.minimum(height, new))
    body = np.stack([p.below, p.bottom, p.bottom + layer, p.top - layer, p.top, p.above])
    lift = np.stack([np.zeros_like(top), bottom, bottom, top, top, rigid.risen(ahead, p.above)])
    moved = body + lift
    moved[0] = np.minimum(moved[0], moved[1] - LEAST_DISC * (p.bottom - p.below))
    body[0] = np.where(moved[0] < p.below, moved[0], body[0])
    moved[5] = np.maximum(moved[5], moved[4] + LEAST_DISC * (p.above - p.top))
    slip = rigid.risen(ahead, seam)
    half = np.maximum(np.abs(slip), 2.0)
    arch = np.stack([p.below, p.bottom, p.bottom + layer, p.top - layer, seam - half, seam + half])
    for k in range(3, -1, -1):
        arch[k] = np.minimum(arch[k], arch[k + 1] - 0.5)
    arch_moved = arch.copy()
    arch_moved[5] += slip
    places = (1.0 - behind) * moved + behind * arch_moved
    sources = (1.0 - behind) * body + behind * arch
    places, sources = (gaussian_filter(values, (0.0, _SMOOTH_MM, _SMOOTH_MM)) for values in (places, sources))
    return Field(center, axes, places, sources, rigid)
