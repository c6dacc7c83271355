"""Posterior elements, ribs and pedicle screws in a vertebra's own coordinates, from rounded rods with smooth unions.

Left and right are mirror images (|u|). Lengths are drawn from :mod:`tables`; shapes of processes are assumed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.body import smooth_max

Place = tuple[Any, Any, Any]


def rod(at: tuple[Tensor, Tensor, Tensor], start: Place, end: Place, radius: Any, tall: Any = 1.0) -> Tensor:
    """Distance inside a rod with round ends (mm), its section stretched ``tall`` times along w."""
    x, y, z = at[0] - start[0], at[1] - start[1], (at[2] - start[2]) / tall
    a, b, c = end[0] - start[0], end[1] - start[1], (end[2] - start[2]) / tall
    along = ((x * a + y * b + z * c) / (a * a + b * b + c * c + 1e-3)).clamp(0.0, 1.0)
    return radius - ((x - along * a) ** 2 + (y - along * b) ** 2 + (z - along * c) ** 2 + 1e-6).sqrt()


def arch_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> Tensor:
    """Signed distance inside pedicles, laminae and processes (mm)."""
    side = u.abs()
    at = (side, v, w)
    back = -p.half_depth
    rear = back - p.canal_depth
    pedicle_u = p.canal_width / 2 + p.pedicle_width / 2 - 1.0
    radius = p.pedicle_width / 2
    up = p.pedicle_up
    zero = torch.zeros_like(p.half_depth)
    low = up - 0.3 * p.height
    tip = rear - p.spinous
    root = (pedicle_u * 0.97, back - 0.5 * p.canal_depth, up - 3.0)
    ridge = (zero, rear - p.lamina * 0.6, low - 0.05 * p.height - 2.0)
    side_root, side_tip = (pedicle_u, rear + 5.0, up), (p.transverse, rear + 1.0 - 6.0 * p.rib, up + 1.5)
    upper_root, upper_tip = (pedicle_u, rear + 3.5, up + 2.0), (pedicle_u + 1.0, rear + 1.5, up + 0.32 * p.height + 3.0)
    lower_root, lower_tip = (pedicle_u - 1.0, rear - 0.5, low), (pedicle_u - 2.0, rear - 1.5, low - 0.55 * p.height)
    pedicle_end = (pedicle_u, back - 0.55 * p.canal_depth, up)
    pedicle = rod(at, (pedicle_u * 0.9, back * 0.55, up), pedicle_end, radius, p.pedicle_height / p.pedicle_width)
    lamina = rod(at, root, ridge, p.lamina / 2, 2.6)
    spinous_tip = (zero, tip, low - p.spinous_drop)
    spinous = rod((u, v, w), (zero, rear - 4.0, low), spinous_tip, zero + 2.6, p.spinous_height / 5.2)
    transverse = rod(at, side_root, side_tip, p.facet * 0.75, 1.25)
    upper = rod(at, upper_root, upper_tip, p.facet * 0.8, 1.3)
    lower = rod(at, lower_root, lower_tip, p.facet * 0.85, 1.2)
    depth = smooth_max(pedicle, lamina, 3.0)
    for part in (spinous, transverse, upper, lower):
        depth = smooth_max(depth, part, 2.5)
    return depth


def rib_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> Tensor:
    """Signed distance inside the rib pair (mm); far outside where the vertebra has none."""
    side = u.abs()
    rear = -p.half_depth - p.canal_depth
    neck = rod((side, v, w), (p.half_width * 0.9, -p.half_depth * 0.7, p.height * 0.42),
               (p.transverse, rear - 6.0, p.pedicle_up), 4.2 + 0 * p.height, 1.4)  # fmt: skip
    middle = p.rib_depth + rear - 14.0
    x, y = side / p.rib_width, (v - middle) / p.rib_depth
    radius = (x * x + y * y + 1e-6).sqrt()
    slope = ((x / p.rib_width) ** 2 + (y / p.rib_depth) ** 2).sqrt() / radius
    off = (radius - 1.0) / slope.clamp_min(1e-3)
    sunk = p.pedicle_up - p.rib_drop * (v - rear + 6.0).clamp_min(-20.0)
    down = (w - sunk) * 0.8
    ring = 3.4 - (off * off + (down * 0.55) ** 2 + 1e-6).sqrt()
    ring = torch.minimum(ring, 0.7 * (side - p.transverse + 4.0))
    return torch.where(p.rib > 0.5, torch.maximum(neck, ring), torch.full_like(neck, -50.0))


def screw_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> Tensor:
    """Signed distance inside a pair of pedicle screws with their rods' heads (mm); far outside where there are none."""
    side = u.abs()
    pedicle_u = p.canal_width / 2 + p.pedicle_width / 2 - 1.0
    rear = -p.half_depth - p.canal_depth
    screw = rod((side, v, w), (pedicle_u * 0.45, p.half_depth * 0.45, p.pedicle_up * 0.6),
                (pedicle_u + 2.0, rear - 4.0, p.pedicle_up), 2.6 + 0 * p.height)  # fmt: skip
    head = rod((side, v, w), (pedicle_u + 2.0, rear - 6.0, p.pedicle_up - 30.0),
               (pedicle_u + 2.0, rear - 6.0, p.pedicle_up + 30.0), 3.0 + 0 * p.height)  # fmt: skip
    return torch.where(p.screw > 0.5, torch.maximum(screw, head), torch.full_like(screw, -50.0))
