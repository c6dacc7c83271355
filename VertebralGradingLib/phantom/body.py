"""The vertebral body as an implicit function of its own coordinates: endplates, wall, and how a fracture changes them.

Own coordinates are u (right), v (anterior), w (up), mm, from the middle of the axis between the rim planes of the body
before any fracture. All functions broadcast: ``p`` holds columns (:class:`columns.View`) that fit u, v, w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WINDOW_T = 0.84
"""Where along the half depth anterior and posterior heights are measured (1 - 2 x morphometry.INSET)."""

BACK_WAIST = 0.5
"""The back wall is drawn in by this share of what the front wall is (assumed, by eye)."""


def bowl(x: Tensor, flat: Any) -> Tensor:
    """Profile of a dish: 1 at ``x`` = 0, 0 from ``x`` = 1 on (x is a squared radius); ``flat`` 0..1 its bottom."""
    rest = (1.0 - x).clamp_min(0.0)
    return rest * (1.0 + flat * (1.0 - rest))


def sigmoid_step(x: Tensor) -> Tensor:
    """Smooth 0 to 1 around ``x`` = 0 within about +-2."""
    return torch.sigmoid(3.0 * x)


def collapse(t: Tensor, q: Tensor, p: Any) -> Tensor:
    """Height (mm) that a fracture takes at depth ``t`` and side ``q`` (both in half sizes), both endplates together.

    A ramp from ``wedge_start`` to the front (wedge), a dish (biconcave), an even part (crush), and an anterior step.
    """
    t = t.clamp(-1.15, 1.15)
    q = q.clamp(-1.15, 1.15)
    x = ((t - p.wedge_start) / (1.0 - p.wedge_start)).clamp_min(0.0)
    ramp = x * (1.0 - p.wedge_curve) + x * x * p.wedge_curve
    dish = bowl(((t - p.bowl_center) / p.bowl_size) ** 2 + (q / p.bowl_size) ** 2, 0.5)
    step = sigmoid_step((t - p.step_at) / 0.12)
    ragged = p.ragged * torch.sin(9.0 * t + p.phase) * torch.cos(7.0 * q + 2.0 * p.phase)
    lost = p.wedge_mm * ramp + p.bowl_mm * dish + p.crush_mm + p.step_mm * step + ragged
    return (lost * (1.0 + p.lateral * q)).clamp_min(0.0)


def _pit(u: Tensor, v: Tensor, depth: Any, at_u: Any, at_v: Any, size_u: Any, size_v: Any) -> Tensor:
    x = ((u - at_u) / size_u.clamp_min(1.0)) ** 2 + ((v - at_v) / size_v.clamp_min(1.0)) ** 2
    return depth * (1.0 - x * x).clamp_min(0.0)


def endplates(u: Tensor, v: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Height of the upper and lower endplate at (u, v), and the height a fracture took there (mm)."""
    t, q = v / p.half_depth, u / p.half_width
    rim = (p.height + p.wedge * v + p.side_wedge * u) / 2.0
    lost = collapse(t, q, p)
    wave = p.rough * torch.sin(5.0 * t + p.phase) * torch.cos(4.0 * q - p.phase)
    dish_up = bowl(((t - p.sup_center) / p.rim) ** 2 + (q / p.rim) ** 2, p.sup_flat)
    dish_low = bowl(((t - p.inf_center) / p.rim) ** 2 + (q / p.rim) ** 2, p.inf_flat)
    top = rim - p.sup_depth * dish_up + wave - p.superior * lost
    bottom = -rim + p.inf_depth * dish_low + wave + (1.0 - p.superior) * lost
    top = top - _pit(u, v, p.pit_sup, p.pit_sup_u, p.pit_sup_v, p.pit_sup_ru, p.pit_sup_rv)
    bottom = bottom + _pit(u, v, p.pit_inf, p.pit_inf_u, p.pit_inf_v, p.pit_inf_ru, p.pit_inf_rv)
    return top, bottom, lost


def wall_depth(u: Tensor, v: Tensor, x: Tensor, p: Any) -> Tensor:
    """Distance inside the side wall (mm), negative outside, to first order.

    Args:
        u: to the right.
        v: to the front.
        x: height within the body, -1 at the lower and 1 at the upper endplate.
        p: columns.

    The outline is a squircle, narrower in front (``taper``), its back flat or hollow towards the canal, its middle
    drawn in (``waist``), its rims drawn out by osteophytes.
    """
    t = v / p.half_depth
    middle = (1.0 - (u / (0.7 * p.half_width)) ** 2).clamp_min(0.0)
    t = torch.where(t < 0, t / (1.0 - p.back_flat * middle), t)
    q = u / (p.half_width * (1.0 - p.taper * t.clamp(-1.2, 1.2)))
    tt, qq = t * t, q * q
    total = tt + qq
    square = p.square * p.square
    root = (total * total - 4.0 * square * tt * qq).clamp_min(1e-8).sqrt()
    radius = ((total + root) / 2.0).clamp_min(1e-8).sqrt()
    slope_t = (t + (total * t - 2.0 * square * t * qq) / root) / (2.0 * radius)
    slope_q = (q + (total * q - 2.0 * square * q * tt) / root) / (2.0 * radius)
    slope = ((slope_t / p.half_depth) ** 2 + (slope_q / p.half_width) ** 2).sqrt()
    xx = (x * x).clamp_max(1.5)
    front = (t.clamp(-1.2, 1.2) * 2.0).sigmoid()
    edge = x.clamp(-1.15, 1.15)
    up4, low4 = edge.clamp_min(0.0) ** 4, (-edge).clamp_min(0.0) ** 4
    out = front * (p.lip_sup * up4 + p.lip_inf * low4) + p.bulge * (1.0 - xx).clamp_min(0.0)
    broken = torch.where(p.superior >= 0.5, x, -x)  # the broken end pushes out, its corner with it
    out = out + front * p.buckle_mm * sigmoid_step((broken - 0.45) / 0.25)
    out = out + (1.0 - front) * middle * p.retro_mm * sigmoid_step((broken - 0.5) / 0.25)
    drawn_in = BACK_WAIST + (1.0 - BACK_WAIST) * front
    size = 1.0 - p.waist * drawn_in * (1.0 - xx).clamp_min(0.0) + out / p.half_depth
    return (size - radius) / slope.clamp_min(0.5 / p.half_width)


def smooth_min(a: Tensor, b: Tensor, k: Any) -> Tensor:
    """Minimum whose corner is rounded where the two are closer than ``k``; equal to the minimum elsewhere."""
    h = (k - (a - b).abs()).clamp_min(0.0)
    return torch.minimum(a, b) - h * h / (4.0 * k)


def smooth_max(a: Tensor, b: Tensor, k: Any) -> Tensor:
    """Maximum with a rounded corner."""
    return -smooth_min(-a, -b, k)


def body_depth(u: Tensor, v: Tensor, w: Tensor, p: Any) -> dict[str, Tensor]:
    """Signed distance inside the body (mm, first order) and what it is made of.

    Returns:
        ``depth``, ``wall`` (distance inside the wall), ``plate`` (inside the nearer endplate), ``top``, ``bottom``,
        ``lost`` (mm), ``x`` (-1 lower .. 1 upper endplate).
    """
    top, bottom, lost = endplates(u, v, p)
    thick = (top - bottom).clamp_min(1.0)
    x = (2.0 * w - top - bottom) / thick
    wall = wall_depth(u, v, x, p)
    plate = torch.minimum(top - w, w - bottom)
    depth = smooth_min(plate, wall, p.corner)
    return {"depth": depth, "wall": wall, "plate": plate, "top": top, "bottom": bottom, "lost": lost, "x": x}
