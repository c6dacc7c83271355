"""How the vertebrae stand on one another: body frames from the sacrum upwards, and the curve soft tissue follows.

The chain is built from its lowest member, so a fracture moves everything cranial to it rigidly and nothing caudal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralGradingLib.phantom.body import WINDOW_T, collapse
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.parameters import SpineParameters, healed


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a spine's vertebrae are.

    Attributes:
        frames: (V, 4, 4) own coordinates (u, v, w, 1) of each body -> RAS mm, cranial to caudal.
        along_mm: (V,) length along the unbroken spine from its lowest body to each body's middle.
        ahead_mm: (V,) how far the unbroken body lies in front of the rearmost one from T1 to L5, at least 0.
    """

    frames: NDArray[np.float64]
    along_mm: NDArray[np.float64]
    ahead_mm: NDArray[np.float64]


def rotation(forward: float, side: float, axial: float) -> NDArray[np.float64]:
    """Rotation by angles (radians): ``forward`` tips the top to the front, ``side`` right, ``axial`` turns it left."""
    a, b, c = -forward, side, axial
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)


def _rigid(turn: NDArray[np.float64], up: float) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, :3] = turn
    out[2, 3] = up
    return out


def rim_drop(spine: SpineParameters) -> NDArray[np.float64]:
    """(V, 3): how far a fracture lowers the rim (mm), its forward and side slope, both endplates together."""
    p = View(torch.from_numpy(spine.vertebrae)[:, None])
    t = torch.tensor([[WINDOW_T, -WINDOW_T, 0.0, 0.0]], dtype=torch.float64)
    q = torch.tensor([[0.0, 0.0, WINDOW_T, -WINDOW_T]], dtype=torch.float64)
    front, back, right, left = collapse(t, q, p).T.numpy()
    span_v, span_u = 2 * WINDOW_T * spine.view.half_depth, 2 * WINDOW_T * spine.view.half_width
    rims = np.minimum((front + back) / 2, (right + left) / 2)  # a dish in the middle does not lower the rim
    return np.column_stack([rims, (front - back) / span_v, (right - left) / span_u])


def align(spine: SpineParameters) -> Alignment:
    """Stand the vertebrae on one another.

    Raises:
        ValueError: the spine bends back on itself.
    """
    frames = _chain(spine)
    whole = _chain(healed(spine)) if spine.fractured() else frames
    middles = whole[:, :3, 3]
    steps = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    along = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    trunk = np.array([level[0] in "TL" for level in spine.levels])
    ahead = (middles[:, 1] - middles[trunk, 1].min()).clip(0)
    above = np.einsum("ni,ni->n", frames[:-1, :3, 3] - frames[1:, :3, 3], frames[1:, :3, 2])
    if above.min() <= 0:
        raise ValueError("the spine bends back on itself")
    return Alignment(frames, along, ahead)


def _chain(spine: SpineParameters) -> NDArray[np.float64]:
    """(V, 4, 4) frames of the bodies."""
    count, p, drop = len(spine.levels), spine.view, rim_drop(spine)
    frames = np.empty((count, 4, 4))
    last = np.eye(4)
    last[:3, 3] = spine.root[:3]
    last[:3, :3] = rotation(*spine.root[3:])
    for n in range(count - 1, -1, -1):
        half = p.height[n] / 2
        tilt, side = np.arctan(p.wedge[n] / 2), np.arctan(p.side_wedge[n] / 2)
        rim, slope, side_slope = drop[n]
        upper = p.superior[n]
        lower = 1.0 - upper
        bend, lean = np.arctan(p.kyphosis[n] * slope), np.arctan(side_slope)
        sunk = last @ _rigid(rotation(lower * bend, lower * lean, 0.0), -lower * rim)
        frames[n] = sunk @ np.linalg.inv(_rigid(rotation(tilt, side, 0.0), -half))
        top = frames[n] @ _rigid(rotation(-tilt, -side, 0.0), half - upper * rim)
        top = top @ _rigid(rotation(upper * bend, upper * lean, 0.0), 0.0)
        if n:
            disc = p.disc[n - 1] / 2
            turn = rotation(-p.bend[n - 1], p.side_bend[n - 1], p.turn[n - 1])
            last = top @ _rigid(np.eye(3), disc) @ _rigid(turn, disc)
    return frames
