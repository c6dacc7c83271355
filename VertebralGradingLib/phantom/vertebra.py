"""One vertebra at points near it: what it adds to a CT, each part evaluated where the scanner may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.arch import arch_depth, rib_depth, screw_depth
from VertebralGradingLib.phantom.body import body_depth, smooth_max
from VertebralGradingLib.phantom.bone import bone_hu, core_hu, discs, soft
from VertebralGradingLib.phantom.points import TAIL, Some

FAR_MM = -50.0
"""Depth that stands for "nowhere near"."""
_JOINT_MM = 12.0
"""How far from the body the bone of arch and ribs still changes with the way to it."""
_SLACK_MM = 3.0


@dataclass(eq=False)
class VertebraAtPoints:
    """One vertebra's part at some points; shares 0..1, HU.

    Attributes:
        bone_at: where bone is seen; ``bone``, ``bone_hu``: its share there, and the HU of that share (already mixed
            from cortex and core); ``part``: signed depth inside body or arch (mm), ``rib``: inside a rib.
        body_at: where the body is near; ``body``: signed depth inside it.
        disc_at: where discs are seen; ``disc``, ``disc_hu``: share of the halves of the discs next to it, without the
            bone in front of them, and their HU.
        metal_at: where implants may be, or None; ``metal``: their share.
        metal_hu: their HU.
    """

    bone_at: Some
    bone: Tensor
    bone_hu: Tensor
    part: Tensor
    rib: Tensor
    body_at: Some
    body: Tensor
    disc_at: Some
    disc: Tensor
    disc_hu: Tensor
    metal_at: Some | None = None
    metal: Tensor | None = None
    metal_hu: Tensor | None = None


def vertebra_at(
    u: Tensor, v: Tensor, w: Tensor, p: Any, above: Any, blur: Tensor, ribs: bool, mask: Tensor | None = None
) -> VertebraAtPoints:
    """Evaluate one vertebra, or one of each spine of a batch.

    Args:
        u: own coordinates (mm) to the right, (N,), or (B, N) with ``mask``;
        v: to the front,
        w: up.
        p: columns, () or (N,), or (B, 1) with ``mask``.
        above: columns of the vertebra above, whose disc lies on this one's upper endplate.
        blur: standard deviation of the scanner's blur (mm), of the columns' shape.
        ribs: whether points may lie on ribs.
        mask: evaluate everything everywhere, which suits accelerators, and use it where this says; None to evaluate
            each part where it is seen, at points that are all :func:`near`.
    """
    dense = mask is not None

    def seen(outside: Tensor) -> Some:
        return Some(outside < 0, False) if mask is None else Some((outside < 0) & mask, True)

    tail = TAIL * blur
    side = u.abs()
    far = torch.full_like(u, FAR_MM)

    def part(where: Some, depth: Any) -> Tensor:
        return far if where.none() else where.full(depth(*where.at(u, v, w), where.columns(p)), FAR_MM)

    arch = part(seen(_arch_box(side, v, w, p, tail)), arch_depth)
    rib = part(seen(_rib_box(side, v, w, p, tail)), rib_depth) if ribs else far
    # the body with its discs; and where other bone is near, which wants to know how far away it is
    box = _body_box(side, v, w, p, above, tail)
    body_at = seen(torch.minimum(box, torch.maximum(box - _JOINT_MM, -tail - torch.maximum(arch, rib))))
    at, own, over = body_at.at(u, v, w), body_at.columns(p), body_at.columns(above)
    near_blur, near_tail = body_at.column(blur), body_at.column(tail)
    parts = body_depth(*at, own)
    core_at = Some(parts["depth"] > -near_tail - 0.7, dense)
    core = core_hu(*core_at.at(*at), core_at.of_all(parts), core_at.columns(own), core_at.column(near_blur))
    core = body_at.full(core_at.full(core, 0.0), 0.0)
    end = soft(parts["wall"] - parts["plate"], 1.0)  # 1 where the nearest surface is an endplate
    body, end = body_at.full(parts["depth"], FAR_MM), body_at.full(end, 0.0)
    whole = smooth_max(body, arch, 2.0 + 0 * p.height)
    bone_at = Some(torch.maximum(whole, rib) > -tail, dense)
    known = {"body": body, "arch": arch, "whole": whole, "rib": rib, "core": core, "end": end}
    known = bone_at.of_all(known)
    bone, hu = bone_hu(*bone_at.at(u, v, w), known, bone_at.columns(p), bone_at.column(blur))
    disc_at = Some((parts["depth"] < near_tail) & (parts["wall"] > -_aside(own, over, near_tail)), dense)
    disc, disc_hu = discs(*disc_at.at(*at), disc_at.of_all(parts), disc_at.columns(own), disc_at.columns(over),
                          disc_at.column(near_blur))  # fmt: skip
    out = VertebraAtPoints(bone_at, bone, hu, known["whole"], known["rib"], body_at, parts["depth"],
                           disc_at.within(body_at), disc, disc_hu)  # fmt: skip
    if bool((p.screw > 0.5).any()):
        out.metal_at = seen(side - 1e4)
        out.metal = soft(screw_depth(*out.metal_at.at(u, v, w), p), blur)
        out.metal_hu = p.screw_hu + 0 * out.metal
    return out


def reach(p: Any, ribs: bool) -> tuple[Tensor, Tensor]:
    """Lowest and highest place (mm up) at which one vertebra, with its halves of discs, may be seen."""
    up = p.height / 2 + 9.0 + p.disc
    low, high = -up - 38.0, up + 0.35 * p.height
    if bool(p.screw > 0.5):
        low, high = low.clamp_max(-36.0), high.clamp_min(36.0)
    if ribs and bool(p.rib > 0.5):
        low, high = torch.minimum(low, -p.rib_drop * 220.0 - 20.0), high.clamp_min(25.0)
    return low, high


def near(u: Tensor, v: Tensor, w: Tensor, p: Any, above: Any, blur: Tensor, ribs: bool) -> Tensor:
    """Whether a vertebra may be at points at all."""
    side = u.abs()
    half = p.height / 2
    rear = -p.half_depth - p.canal_depth - p.spinous - 12.0
    up = half + 9.0 + p.disc
    out = _box(side, v, w, p.transverse + 12.0, rear, p.half_depth + 14.0, -up - 38.0, up + 0.35 * p.height)
    out = torch.maximum(out, torch.minimum(-half - p.disc * 0.6 - 6.0 - w, v + p.half_depth))
    if bool((p.screw > 0.5).any()):
        screw = _box(side, v, w, 40.0, rear, p.half_depth, -36.0, 36.0)
        out = torch.minimum(out, screw + 1e4 * (p.screw < 0.5))
    if ribs and bool((p.rib > 0.5).any()):
        tail = TAIL * blur
        ring = torch.maximum(torch.maximum(w - 25.0, -p.rib_drop * 220.0 - 20.0 - w), 15.0 - side)
        seen = torch.minimum(_rib_box(side, v, w, p, tail), _body_box(side, v, w, p, above, tail))
        out = torch.minimum(out, torch.maximum(ring, seen) + 1e4 * (p.rib < 0.5))
    return out < 0


def _box(side: Tensor, v: Tensor, w: Tensor, wide: Any, rear: Any, front: Any, low: Any, high: Any) -> Tensor:
    """Negative inside a box."""
    inside = torch.minimum(wide - side, 0.5 * (front - rear) - (v - 0.5 * (front + rear)).abs())
    return -torch.minimum(inside, 0.5 * (high - low) - (w - 0.5 * (high + low)).abs())


def _aside(p: Any, above: Any, tail: Tensor) -> Tensor:
    """How far beside the wall of a body (mm) its discs, or bone that bridges them, are seen."""
    bulge = torch.maximum(p.disc_bulge, above.disc_bulge).clamp_min(0.0)
    return tail + torch.maximum(bulge, torch.maximum(p.bridge, above.bridge))


def _body_box(side: Tensor, v: Tensor, w: Tensor, p: Any, above: Any, tail: Tensor) -> Tensor:
    """Negative where the body or its discs may be seen."""
    out = 1.75 * torch.maximum(p.lip_sup, p.lip_inf) + p.bulge + p.buckle_mm + p.retro_mm
    size = 1.0 + out / p.half_depth
    aside = 1.15 * _aside(p, above, tail)
    deep = p.half_depth * size + aside
    wide = p.half_width * (1.0 + 1.2 * p.taper.abs()) * size + aside
    rim = 0.5 * (p.height + p.wedge.abs() * deep + p.side_wedge.abs() * wide)
    lost = (1.3 * (p.wedge_mm + p.bowl_mm + p.crush_mm + p.step_mm) + p.ragged).clamp_max(0.6 * rim)
    bent = 0.55 * torch.maximum(p.bend.abs(), above.bend.abs()) * p.half_depth
    disc = 0.5 * torch.maximum(p.disc, above.disc) + 1.0 + bent
    bridge = 0.45 * p.height * ((p.bridge > 0) | (above.bridge > 0))
    tall = rim + lost + p.rough.abs() + disc + bridge + tail
    return _box(side, v, w, wide, -deep, deep, -tall, tall)


def _arch_box(side: Tensor, v: Tensor, w: Tensor, p: Any, tail: Tensor) -> Tensor:
    """Negative where pedicles, laminae and processes may be seen."""
    rear = -p.half_depth - p.canal_depth
    more = tail + _SLACK_MM
    wide = torch.maximum(p.transverse, 0.5 * p.canal_width + p.pedicle_width) + p.facet + more
    back = rear - torch.maximum(p.spinous + 5.0, p.transverse_back + p.facet) - more
    pedicle = 0.5 * p.pedicle_height + tail * p.pedicle_height / p.pedicle_width
    high = torch.maximum(0.5 * p.height + 3.5 + p.facet + tail, p.pedicle_up + pedicle) + _SLACK_MM
    blade = p.lamina_height * p.height + p.spinous_drop + 0.5 * p.spinous_height * p.spinous_tip.clamp_min(1.0)
    low = torch.minimum(-0.5 * p.height - 0.6 * p.disc - 3.0 - p.facet, p.pedicle_up - blade) - more
    return _box(side, v, w, wide, back, -0.55 * p.half_depth + 0.5 * p.pedicle_width + more, low, high)


def _rib_box(side: Tensor, v: Tensor, w: Tensor, p: Any, tail: Tensor) -> Tensor:
    """Negative where ribs may be seen: along a sloping sheet, and beside the body."""
    rear = -p.half_depth - p.canal_depth
    more = tail + _SLACK_MM
    sunk = p.pedicle_up - p.rib_drop * (v - rear + 6.0).clamp_min(-20.0)
    ring = (w - sunk).abs() - (3.4 + tail) / 0.44
    neck = _box(side, v, w, p.transverse + 4.0 + more, rear - 7.0 - more, -0.7 * p.half_depth + 4.0 + more,
                torch.minimum(p.pedicle_up, 0.42 * p.height) - 6.0 - 1.4 * more,
                torch.maximum(p.pedicle_up, 0.42 * p.height) + 6.0 + 1.4 * more)  # fmt: skip
    return torch.minimum(ring, neck) + 1e4 * (p.rib < 0.5)
