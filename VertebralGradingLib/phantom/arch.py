"""Posterior elements, ribs and pedicle screws in a vertebra's own coordinates, from rounded rods with smooth unions.

Left and right are mirror images (|u|). Lengths are drawn from :mod:`tables`; shapes of processes are assumed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.body import smooth_max, smooth_min

Place = tuple[Any, Any, Any]


def rod(
    at: tuple[Tensor, Tensor, Tensor], start: Place, end: Place, radius: Any, tall: Any = 1.0, taper: Any = 1.0
) -> Tensor:
    """Distance inside a rod with round ends (mm), its section stretched ``tall`` times along w.

    Its radius changes to ``taper`` times that at its end.
    """
    x, y, z = at[0] - start[0], at[1] - start[1], (at[2] - start[2]) / tall
    a, b, c = end[0] - start[0], end[1] - start[1], (end[2] - start[2]) / tall
    along = ((x * a + y * b + z * c) / (a * a + b * b + c * c + 1e-3)).clamp(0.0, 1.0)
    radius = radius * (1.0 + (taper - 1.0) * along)
    return radius - ((x - along * a) ** 2 + (y - along * b) ** 2 + (z - along * c) ** 2 + 1e-6).sqrt()


def arch_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> Tensor:
    """Signed distance inside pedicles, laminae and processes (mm).

    The laminae are two sheets that meet behind the canal, their upper edge in front; the spinous process is a blade
    that runs on from them. A joint's two halves are cut along one plane, ``facet_gap`` apart.
    """
    side = u.abs()
    at = (side, v, w)
    back = -p.half_depth
    rear = back - p.canal_depth
    pedicle_u = p.canal_width / 2 + p.pedicle_width / 2 - 1.0
    up = p.pedicle_up
    pedicle_end = (pedicle_u, back - 0.55 * p.canal_depth, up)
    pedicle = rod(at, (pedicle_u * 0.9, back * 0.55, up), pedicle_end, p.pedicle_width / 2,
                  p.pedicle_height / p.pedicle_width)  # fmt: skip
    depth = smooth_max(smooth_max(pedicle, _corners(side, v, w, p, pedicle_u, rear), 3.0),
                       _lamina(side, v, w, p, pedicle_u, rear), 6.0)  # fmt: skip
    depth = smooth_max(depth, _spinous(u, v, w, p, rear), 3.0)
    tip = (p.transverse, rear - p.transverse_back, up + 2.0)
    depth = smooth_max(depth, rod(at, (pedicle_u, rear + 4.0, up), tip, p.facet * 0.72, 1.3, p.transverse_end), 2.5)
    # joints: the upper process lies in front and outside of the plane, the lower one behind and inside
    inward, backward = -torch.sin(p.facet_turn), -torch.cos(p.facet_turn)
    across = (side - pedicle_u) * inward + (v - rear) * backward
    off = 0.45 * p.facet
    upper = rod(at, (pedicle_u - off * inward, rear + 3.0 - off * backward, up),
                (pedicle_u - off * inward, rear - off * backward, 0.5 * p.height + 3.5), p.facet * 0.85)  # fmt: skip
    lower = rod(at, (pedicle_u + off * inward, rear + off * backward, up - 0.4 * p.height),
                (pedicle_u + off * inward, rear + off * backward, -0.5 * p.height - 0.6 * p.disc - 3.0),
                p.facet * 0.85)  # fmt: skip
    upper = torch.minimum(upper, -across - 0.5 * p.facet_gap)
    lower = torch.minimum(lower, across - 0.5 * p.facet_gap)
    return smooth_max(smooth_max(depth, upper, 1.5), lower, 1.5)


def _corners(side: Tensor, v: Tensor, w: Tensor, p: Any, pedicle_u: Any, rear: Any) -> Tensor:
    """Signed distance inside the bone that rounds the corners of the canal between the pedicles."""
    wall = -p.half_depth * (1.0 - p.back_flat)  # the body's back wall at the midline
    deep = wall - rear
    radius = ((side / (0.5 * p.canal_width)) ** 2 + ((v - wall + 0.5 * deep) / (0.5 * deep)) ** 2 + 1e-6).sqrt()
    outside = torch.minimum((radius - 1.1) * 0.5 * deep, side - 0.26 * p.canal_width)
    within = torch.minimum(pedicle_u - side, 0.5 * p.pedicle_height - (w - p.pedicle_up).abs())
    return torch.minimum(torch.minimum(outside, within), torch.minimum(v - rear, wall + 1.0 - v))


def _lamina(side: Tensor, v: Tensor, w: Tensor, p: Any, pedicle_u: Any, rear: Any) -> Tensor:
    """Signed distance inside the laminae."""
    top = p.pedicle_up - 0.06 * p.height
    tall = p.lamina_height * p.height
    open_ = 0.45 * p.canal_depth / pedicle_u  # how much the roof of the canal opens to the front, to the side
    below = torch.maximum((w - top).clamp_max(0.0), -1.5 * tall)
    sheet = v - rear + 0.5 * p.lamina - open_ * side - p.lamina_tilt * below
    sheet = sheet.abs() / (1.0 + open_ * open_ + p.lamina_tilt * p.lamina_tilt).sqrt()
    ends = torch.minimum(0.5 * tall - (w - top + 0.5 * tall).abs(), pedicle_u + 3.0 - side)
    return smooth_min(0.5 * p.lamina - sheet, ends, p.lamina)


def _spinous(u: Tensor, v: Tensor, w: Tensor, p: Any, rear: Any) -> Tensor:
    """Signed distance inside the spinous process: a blade from the laminae to its tip, whose height changes."""
    root = p.pedicle_up - 0.06 * p.height - 0.55 * p.lamina_height * p.height
    ahead, down = -p.spinous, -p.spinous_drop
    length = (ahead * ahead + down * down).sqrt()
    ahead, down = ahead / length, down / length
    y, z = v - rear - 1.0, w - root
    along, across = y * ahead + z * down, y * down - z * ahead
    share = (along / length).clamp(0.0, 1.0)
    half = 0.5 * p.spinous_height * (1.0 + (p.spinous_tip - 1.0) * share)
    blade = smooth_min(half - across.abs(), torch.minimum(length - along, along + 2.0), 0.8 * half)
    thick = p.spinous_thick * (1.0 - 0.25 * share + 0.55 * share * share * share)
    return smooth_min(blade, thick - u.abs(), 2.5)


def rib_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> Tensor:
    """Signed distance inside the rib pair (mm); far outside where the vertebra has none."""
    side = u.abs()
    rear = -p.half_depth - p.canal_depth
    neck = rod((side, v, w), (p.half_width * 0.9, -p.half_depth * 0.7, p.height * 0.42),
               (p.transverse, rear - 3.0, p.pedicle_up), 4.0 + 0 * p.height, 1.4)  # fmt: skip
    middle = p.rib_depth + rear - 9.0
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
