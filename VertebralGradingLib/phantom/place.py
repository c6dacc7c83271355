"""Coordinates that follow the spine's curve: where soft tissue lies."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.phantom.alignment import Alignment, rim_drop
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.spine.anatomy import axis_position

_NAMES = ("u", "v", "s", "ahead", "level", "a", "b", "canal", "canal_width")


def curve(spine: SpineParameters, alignment: Alignment) -> NDArray[np.float64]:
    """(V, 21) what :func:`places` needs, caudal to cranial: axes, middle, reach up and down, length, sizes."""
    p, frames = spine.view, alignment.frames
    position = [17.0 + int(level[1:]) if level[0] == "S" else axis_position(level) for level in spine.levels]
    axes = frames[:, :3, :3].transpose(0, 2, 1).reshape(-1, 9)
    rim = rim_drop(spine)[:, 0]
    up, down = p.height / 2 - p.superior * rim, p.height / 2 - (1.0 - p.superior) * rim
    rows = [axes, frames[:, :3, 3], up, down, alignment.along_mm, alignment.ahead_mm, position]
    return np.column_stack([*rows, p.half_depth, p.half_width, p.canal_depth, p.canal_width])[::-1]


def places(curves: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Coordinates of points (B, N, 3) along curves (B, V, 21), each (B, N); see :func:`soft.paint_trunk`.

    A point lies between the mid planes of two bodies. It takes the coordinates of either body as far as that body
    reaches, and mixes them across the disc, so that tissue beside a body that moves rigidly moves rigidly too.
    """
    up, middle = curves[..., 6:9], curves[..., 9:12]
    over = points @ up.transpose(1, 2) - (middle * up).sum(-1)[:, None]  # (B, N, V) mm above each mid plane
    lower = ((over >= 0).to(torch.uint8).sum(-1, dtype=torch.int64) - 1).clamp(0, curves.shape[1] - 2)
    batch = torch.arange(len(points), device=points.device)[:, None]
    first, second = (curves[batch, lower + n].unbind(-1) for n in (0, 1))
    return _named(_between(points.unbind(-1), first, second))


def few_places(curve: Tensor, points: Tensor) -> dict[str, Tensor]:
    """The same for points (3, N) along one curve (V, 21), pair by pair of bodies: faster on a CPU."""
    up = curve[:, 6:9]
    over = torch.addmm(-(up * curve[:, 9:12]).sum(-1, keepdim=True), up, points)
    lower = ((over.sign_().sum(0) + (len(curve) - 1)) * 0.5).floor_().clamp_(0, len(curve) - 2)
    begin, end = (int(n) for n in torch.aminmax(lower))
    if begin == end:
        return _named(_between(points.unbind(0), curve[begin].unbind(), curve[begin + 1].unbind()))
    out = points.new_empty((len(_NAMES), points.shape[1]))
    for n in range(begin, end + 1):
        index = (lower == n).nonzero()[:, 0]
        if len(index):
            here = points.index_select(1, index).unbind(0)
            out.index_copy_(1, index, torch.stack(_between(here, curve[n].unbind(), curve[n + 1].unbind())))
    return _named(list(out.unbind(0)))


def _named(values: list[Tensor]) -> dict[str, Tensor]:
    out = dict(zip(_NAMES, values, strict=True))
    out["y"] = out["v"] + 0.7 * out["ahead"]
    return out


def _between(points: tuple[Tensor, ...], first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> list[Tensor]:
    """Coordinates of points (x, y, z) between two rows of a curve, as in :data:`_NAMES`."""
    own = []
    for row in (first, second):
        x, y, z = (at - middle for at, middle in zip(points, row[9:12], strict=True))
        own.append([x * row[n] + y * row[n + 1] + z * row[n + 2] for n in (0, 3, 6)])
    above, below = own[0][2], own[1][2]
    apart = [b - a for a, b in zip(first[9:12], second[9:12], strict=True)]
    gap = (apart[0] ** 2 + apart[1] ** 2 + apart[2] ** 2).sqrt()
    begin, end = first[12] / gap, 1.0 - second[13] / gap
    part = above / (above - below).clamp_min(1.0)
    part = ((part - begin) / (end - begin).clamp_min(0.02)).clamp(0.0, 1.0)
    u, v = (torch.lerp(low, high, part) for low, high in zip(own[0][:2], own[1][:2], strict=True))
    s = torch.lerp(first[14] + above, second[14] + below, part)
    share = ((s - first[14]) / (second[14] - first[14])).clamp(0.0, 1.0)
    return [u, v, s, *(a + share * (b - a) for a, b in zip(first[15:], second[15:], strict=True))]
