"""The spine as one continuous function of position: HU, tissue and vertebra label at any RAS points, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.anatomy import VERSE, axis_position
from VertebralGradingLib.phantom.alignment import Alignment, align, rim_drop
from VertebralGradingLib.phantom.bone import VertebraAtPoints, vertebra_at
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.parameters import TRUNK, SpineParameters
from VertebralGradingLib.phantom.soft import TISSUES, Layers, paint_trunk

_LABELS = {name: label for label, name in VERSE.items()} | {"S2": 26, "S3": 26}
_FRONT_MM = 14.0
_NEAR_RIBS_MM = 34.0
FAR_MM = -50.0
PADDING_MM = 1e4
"""How far away the repeated vertebrae are that fill up shorter spines of a batch."""


@dataclass(eq=False)
class Values:
    """The field at points, all (B, N).

    Attributes:
        hu: float, before noise and detector, edges softened by ``blur``.
        tissue: uint8, index into :data:`soft.TISSUES`.
        vertebra: uint8, VerSe label of the whole vertebra (body, arch), 0 elsewhere.
        body: uint8, VerSe label of the body alone.
        depth: signed distance inside the nearest vertebral body (mm, to first order), -50 far away.
    """

    hu: Tensor
    tissue: Tensor
    vertebra: Tensor
    body: Tensor
    depth: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A spine with its vertebrae in place: what :class:`Field` evaluates, computed once.

    Attributes:
        spine: the spine.
        frames: (V, 4, 4) own coordinates of each body -> RAS mm.
        inverse: (V, 3, 4) RAS mm -> own coordinates.
        curve: (V, 21) what :meth:`Field.place` interpolates, caudal to cranial.
        labels: (V,) VerSe labels.
    """

    spine: SpineParameters
    frames: NDArray[np.float64]
    inverse: NDArray[np.float64]
    curve: NDArray[np.float64]
    labels: NDArray[np.uint8]


def prepare(spine: SpineParameters) -> Prepared:
    """Stand a spine's vertebrae on one another.

    Raises:
        ValueError: it bends back on itself.
    """
    alignment = align(spine)
    labels = np.array([_LABELS[level] for level in spine.levels], dtype=np.uint8)
    inverse = np.asarray(np.linalg.inv(alignment.frames)[:, :3], dtype=np.float64)
    return Prepared(spine, alignment.frames, inverse, _curve(spine, alignment), labels)


class Field:
    """Spines ready to be evaluated.

    Args:
        spines: a batch, prepared or not.
        device: where to compute.
        dtype: float32, or float64 for exact comparisons.
        windows: (B,) first vertebra and number of neighbours to evaluate; all by default.
        dense: evaluate all spines of the batch at once, which suits accelerators; None for that.
    """

    def __init__(
        self,
        spines: Sequence[SpineParameters | Prepared],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        windows: tuple[Sequence[int], int] | None = None,
        dense: bool | None = None,
    ) -> None:
        self.prepared = [prepare(one) if isinstance(one, SpineParameters) else one for one in spines]
        self.device, self.dtype = torch.device(device), dtype
        self.dense = self.device.type != "cpu" if dense is None else dense
        lengths = [len(one.labels) for one in self.prepared]
        self.count = max(lengths)

        def stack(arrays: list[NDArray[np.float64]]) -> Tensor:
            longest = max(len(a) for a in arrays)
            filled = [np.concatenate([a, np.repeat(a[-1:], longest - len(a), axis=0)]) for a in arrays]
            return torch.from_numpy(np.stack(filled)).to(self.device, dtype)

        self.table = stack([one.spine.vertebrae for one in self.prepared])
        self.inverse = stack([one.inverse for one in self.prepared])
        self.trunk = stack([one.spine.trunk for one in self.prepared])
        self.labels = torch.zeros((len(lengths), self.count), dtype=torch.uint8, device=self.device)
        for row, one in zip(self.labels, self.prepared, strict=True):
            row[: len(one.labels)] = torch.from_numpy(one.labels).to(self.device)
        padded = (
            torch.arange(self.count, device=self.device)[None] >= torch.tensor(lengths, device=self.device)[:, None]
        )
        self.inverse[..., 3] += (padded * PADDING_MM)[..., None]
        first, number = ([0] * len(lengths), self.count) if windows is None else windows
        curves = [one.curve[max(len(one.curve) - begin - number, 0) : len(one.curve) - begin]
                  for one, begin in zip(self.prepared, first, strict=True)]  # fmt: skip
        self.curve = stack(curves)
        short = torch.tensor([len(curve) for curve in curves], device=self.device)[:, None]
        beyond = (torch.arange(self.curve.shape[1], device=self.device)[None] - short + 1).clamp_min(0)
        self.curve[..., 11] += beyond * PADDING_MM
        slots = torch.tensor(list(first), device=self.device)[:, None] + torch.arange(number, device=self.device)
        self.slots = slots.clamp(0, self.count - 1)

    def frame(self, level: str, item: int = 0) -> NDArray[np.float64]:
        """(4, 4) own coordinates of a body -> RAS mm."""
        one = self.prepared[item]
        return one.frames[one.spine.levels.index(level)]

    def __call__(self, points: Tensor, blur_mm: Tensor | float = 0.7, ribs: bool | None = None) -> Values:
        """Evaluate.

        Args:
            points: (B, N, 3) RAS mm, one row for each spine of the batch.
            blur_mm: standard deviation of the scanner's blur, a number or (B,).
            ribs: whether points may lie on ribs; None looks how far from the midline they go.
        """
        points = points.to(self.device, self.dtype)
        blur = torch.as_tensor(blur_mm, dtype=self.dtype, device=self.device).reshape(-1, 1)
        place = self.place(points)
        if ribs is None:
            ribs = bool((place["u"].abs() > _NEAR_RIBS_MM).any())
        trunk = {name: self.trunk[:, n : n + 1] for n, name in enumerate(TRUNK)}
        layers = paint_trunk(place, trunk, blur)
        bone = _Bones(points.shape[:2], self.device, self.dtype)
        for slot in range(self.slots.shape[1]):
            self._add(bone, self.slots[:, slot], points, blur, ribs)
        return bone.over(layers)

    def place(self, points: Tensor) -> dict[str, Tensor]:
        """Coordinates of points (B, N, 3) that follow the spine's curve; see :func:`soft.paint_trunk`.

        A point lies between the mid planes of two bodies. It takes the coordinates of either body as far as that body
        reaches, and mixes them across the disc, so that tissue beside a body that moves rigidly moves rigidly too.
        """
        up, middle = self.curve[..., 6:9], self.curve[..., 9:12]
        over = points @ up.transpose(1, 2) - (middle * up).sum(-1)[:, None]  # (B, N, V) mm above each mid plane
        lower = ((over >= 0).to(torch.uint8).sum(-1, dtype=torch.int64) - 1).clamp(0, self.curve.shape[1] - 2)[
            ..., None
        ]
        above, below = (over.gather(-1, lower + n)[..., 0] for n in (0, 1))
        batch = torch.arange(len(points), device=points.device)[:, None]
        first, second = (self.curve[batch, lower[..., 0] + n] for n in (0, 1))
        away = [points - row[..., 9:12] for row in (first, second)]
        gap = (first[..., 9:12] - second[..., 9:12]).norm(dim=-1)
        begin, end = first[..., 12] / gap, 1.0 - second[..., 13] / gap
        part = above / (above - below).clamp_min(1.0)
        part = ((part - begin) / (end - begin).clamp_min(0.02)).clamp(0.0, 1.0)
        out = {}
        for name, n in (("u", 0), ("v", 3)):
            low, high = ((a * row[..., n : n + 3]).sum(-1) for a, row in zip(away, (first, second), strict=True))
            out[name] = torch.lerp(low, high, part)
        out["s"] = torch.lerp(first[..., 14] + above, second[..., 14] + below, part)
        share = ((out["s"] - first[..., 14]) / (second[..., 14] - first[..., 14])).clamp(0.0, 1.0)
        names = ("ahead", "level", "a", "b", "canal", "canal_width")
        out |= {name: torch.lerp(first[..., 15 + n], second[..., 15 + n], share) for n, name in enumerate(names)}
        out["y"] = out["v"] + 0.7 * out["ahead"]
        return out

    def _add(self, bone: _Bones, which: Tensor, points: Tensor, blur: Tensor, ribs: bool) -> None:
        """Add one vertebra of every spine (``which``: (B,) index) to ``bone``, at the points it may reach."""
        batch = torch.arange(len(which), device=self.device)
        inverse, table = self.inverse[batch, which], self.table[batch, which]
        over, label = self.table[batch, (which - 1).clamp_min(0)], self.labels[batch, which][:, None]
        blur = blur.expand(len(which), 1)
        if self.dense:
            u, v, w = (points @ inverse[:, :, :3].transpose(1, 2) + inverse[:, None, :, 3]).unbind(-1)
            p = View(table[:, None])
            values = vertebra_at(u, v, w, p, View(over[:, None]), blur, ribs)
            bone.put(None, _reach(u, v, w, p, ribs), values, label)
            return
        for item in range(len(which)):
            p = View(table[item])
            at = inverse[item, :, :3] @ points[item].T + inverse[item, :, 3:]
            if not _may_touch(at, p, ribs):
                continue
            near = _reach(at[0], at[1], at[2], p, ribs).nonzero()[:, 0]
            if len(near):
                one, above = View(table[item : item + 1, None]), View(over[item : item + 1, None])
                u, v, w = at[:, near][:, None]
                values = vertebra_at(u, v, w, one, above, blur[item : item + 1], ribs)
                bone.put(item, near, values, label[item : item + 1])


class _Bones:
    """Bone, disc and metal of all vertebrae; at each point the one that fills the most of it counts."""

    def __init__(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> None:
        def zeros(kind: torch.dtype = dtype) -> Tensor:
            return torch.zeros(shape, dtype=kind, device=device)

        self.bone, self.bone_hu, self.disc, self.disc_hu, self.metal = (zeros() for _ in range(5))
        self.metal_hu = zeros()
        self.body = zeros() + FAR_MM
        self.part, self.rib = zeros() + FAR_MM, zeros() + FAR_MM
        self.body_label, self.part_label = zeros(torch.uint8), zeros(torch.uint8)

    def put(self, item: int | None, near: Tensor, new: VertebraAtPoints, label: Tensor) -> None:
        """Take over what a vertebra adds: for one item at point indices, or for all items where a mask says so."""
        pairs = (("bone", "bone_hu"), ("disc", "disc_hu"), ("metal", "metal_hu"),
                 ("body", "body_label"), ("part", "part_label"), ("rib", None))  # fmt: skip
        for name, carried in pairs:
            mine, value = getattr(self, name), getattr(new, name)
            now = mine[item][near][None] if item is not None else mine
            more = value > now if item is not None else (value > now) & near
            _store(mine, item, near, torch.where(more, value, now))
            if carried is not None:
                own = getattr(self, carried)
                old = own[item][near][None] if item is not None else own
                what = label.expand_as(old) if carried.endswith("label") else getattr(new, carried)
                _store(own, item, near, torch.where(more, what, old))

    def over(self, layers: Layers) -> Values:
        """Paint discs, bone and metal over soft tissue."""
        layers.cover(self.disc, self.disc_hu, "disc")
        layers.cover(self.bone, self.bone_hu, "arch")
        zero = torch.zeros_like(self.part_label)
        tissue = torch.where((self.rib > self.part) & (self.rib > 0), TISSUES.index("rib"), layers.tissue)
        tissue = torch.where(self.body > 0, TISSUES.index("body"), tissue)
        layers.tissue = tissue
        layers.cover(self.metal, self.metal_hu, "metal")
        whole = torch.where(self.part > 0, self.part_label, zero)
        body = torch.where(self.body > 0, self.body_label, zero)
        whole = torch.where(self.body > 0, body, whole)
        return Values(layers.hu, layers.tissue, whole, body, self.body)


def _store(array: Tensor, item: int | None, near: Tensor, values: Tensor) -> None:
    if item is None:
        array.copy_(values)
    else:
        array[item, near] = values[0]


def _may_touch(at: Tensor, p: View, ribs: bool) -> bool:
    """Whether points (3, N) in own coordinates come near a vertebra at all."""
    low, high = at[2].min(), at[2].max()
    return bool((high > -float(p.height) / 2 - 60.0 - 110.0 * ribs) & (low < float(p.height) / 2 + 50.0))


def _reach(u: Tensor, v: Tensor, w: Tensor, p: View, ribs: bool) -> Tensor:
    """Which points in own coordinates a vertebra may touch."""
    half = p.height / 2
    rear = -p.half_depth - p.canal_depth - p.spinous - 12.0
    up = half + 9.0 + p.disc
    near = (v > rear) & (v < p.half_depth + _FRONT_MM) & (w < up + 0.35 * p.height) & (w > -up - 38.0)
    near &= (w > -half - p.disc * 0.6 - 6.0) | (v < -p.half_depth)
    near = near & (u.abs() < p.transverse + 12.0)
    near |= (p.screw > 0.5) & (w.abs() < 36.0) & (u.abs() < 40.0) & (v < p.half_depth) & (v > rear)
    if not ribs:
        return near
    ring = (p.rib > 0.5) & (w < 25.0) & (w > -p.rib_drop * 220.0 - 20.0) & (u.abs() > 15.0)
    return near | ring


def _curve(spine: SpineParameters, alignment: Alignment) -> NDArray[np.float64]:
    """(V, 21) what :meth:`Field.place` needs, caudal to cranial: axes, middle, reach up and down, length, sizes."""
    p, frames = spine.view, alignment.frames
    position = [17.0 + int(level[1:]) if level[0] == "S" else axis_position(level) for level in spine.levels]
    axes = frames[:, :3, :3].transpose(0, 2, 1).reshape(-1, 9)
    rim = rim_drop(spine)[:, 0]
    up, down = p.height / 2 - p.superior * rim, p.height / 2 - (1.0 - p.superior) * rim
    rows = [axes, frames[:, :3, 3], up, down, alignment.along_mm, alignment.ahead_mm, position]
    return np.column_stack([*rows, p.half_depth, p.half_width, p.canal_depth, p.canal_width])[::-1]
