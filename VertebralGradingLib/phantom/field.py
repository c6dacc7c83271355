"""The spine as one continuous function of position: HU, tissue and vertebra label at any RAS points, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.phantom.alignment import align
from VertebralGradingLib.phantom.bones import Bones
from VertebralGradingLib.phantom.columns import View
from VertebralGradingLib.phantom.parameters import TRUNK, SpineParameters
from VertebralGradingLib.phantom.place import curve, few_places, places
from VertebralGradingLib.phantom.points import Rows, Some
from VertebralGradingLib.phantom.soft import Layers, paint_trunk
from VertebralGradingLib.phantom.vertebra import near, reach, vertebra_at
from VertebralGradingLib.spine.anatomy import VERSE

_LABELS = {name: label for label, name in VERSE.items()} | {"S2": 26, "S3": 26}
_NEAR_RIBS_MM = 34.0
_CHUNK = 65536
"""Points of one spine that are evaluated together on a CPU; what is computed of them stays in its cache."""
_TOGETHER = 1 << 17
"""Points of several spines that are evaluated together."""
_SOLID = 1.0 - 1e-5
"""Share of bone from which on nothing shines through."""
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
        curve: (V, 21) what :mod:`place` interpolates, caudal to cranial.
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
    return Prepared(spine, alignment.frames, inverse, curve(spine, alignment), labels)


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
        self._slots: list[list[int]] = self.slots.tolist()

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
        blur = torch.as_tensor(blur_mm, dtype=self.dtype, device=self.device).reshape(-1, 1).expand(len(points), 1)
        if self.dense:
            return self._at_once(points, blur, ribs)
        size = max(points.shape[1], 1)
        size = -(-size // max(-(-size // _CHUNK), 1))
        pieces = [(n, part.T.contiguous()) for n, row in enumerate(points) for part in row.split(size)]
        if ribs is None:
            ribs = any(bool((few_places(self.curve[n], part)["u"].abs() > _NEAR_RIBS_MM).any()) for n, part in pieces)
        together = max(_TOGETHER // size, 1) if 2 * size <= _CHUNK else 1
        groups = [pieces[n : n + together] for n in range(0, len(pieces), together)]
        parts = [part for group in groups for part in self._some(group, blur, ribs)]
        return Values(*(torch.cat(values).reshape(points.shape[:2]) for values in zip(*parts, strict=True)))

    def _at_once(self, points: Tensor, blur: Tensor, ribs: bool | None) -> Values:
        """Evaluate whole batches: every vertebra at every point."""
        place = places(self.curve, points)
        if ribs is None:
            ribs = bool((place["u"].abs() > _NEAR_RIBS_MM).any())
        bones = Bones(place["u"])
        batch = torch.arange(len(points), device=self.device)
        for slot in range(self.slots.shape[1]):
            which = self.slots[:, slot]
            inverse, label = self.inverse[batch, which], self.labels[batch, which][:, None]
            u, v, w = (points @ inverse[:, :, :3].transpose(1, 2) + inverse[:, None, :, 3]).unbind(-1)
            p, over = (View(self.table[batch, n][:, None]) for n in (which, (which - 1).clamp_min(0)))
            mask = near(u, v, w, p, over, blur, ribs)
            bones.put(vertebra_at(u, v, w, p, over, blur, ribs, mask), label)
        trunk = {name: self.trunk[:, n : n + 1] for n, name in enumerate(TRUNK)}
        return Values(*bones.over(paint_trunk(place, trunk, blur)))

    def _some(
        self, pieces: list[tuple[int, Tensor]], blur: Tensor, ribs: bool
    ) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Evaluate points (3, N) of some spines: first bones, of all spines together, then what is not hidden in them.

        Args:
            pieces: number of a spine, and its points.
            blur: (B, 1) blur of all spines.
            ribs: whether points may lie on ribs.
        """
        sizes = [points.shape[1] for _, points in pieces]
        bones = Bones(torch.empty(sum(sizes), dtype=self.dtype, device=self.device))
        for slot in range(self.slots.shape[1]):
            self._add(bones, slot, pieces, blur, ribs)
        out = []
        for (item, points), bone in zip(pieces, bones.split(sizes), strict=True):
            bare = Some(bone.bone < _SOLID, False)
            layers = Layers(torch.zeros_like(bone.bone), "arch", blur[item, 0])
            if not bare.none():
                place = few_places(self.curve[item], torch.stack(bare.at(*points)))
                trunk = dict(zip(TRUNK, self.trunk[item], strict=True))
                soft = paint_trunk(place, trunk, blur[item, 0], True)
                layers.hu, layers.tissue = bare.full(soft.hu, 0.0), bare.full(soft.tissue, 0.0)
            out.append(bone.over(layers))
        return out

    def _add(self, bones: Bones, slot: int, pieces: list[tuple[int, Tensor]], blur: Tensor, ribs: bool) -> None:
        """Add one vertebra of every spine at the points that it may reach."""
        spines, numbers, index, own = [], [], [], []
        begin = 0
        for item, points in pieces:
            n = self._slots[item][slot]
            p, inverse = View(self.table[item, n]), self.inverse[item, n]
            low, high = reach(p, ribs)
            up = torch.addmv(inverse[2, 3].expand(points.shape[1]), points.T, inverse[2, :3])
            if bool((up.amax() >= low) & (up.amin() <= high)):
                at = torch.addmm(inverse[:, 3:], inverse[:, :3], points)
                over = View(self.table[item, max(n - 1, 0)])
                chosen = near(at[0], at[1], at[2], p, over, blur[item, 0], ribs).nonzero()[:, 0]
                if len(chosen):
                    spines.append(item)
                    numbers.append(n)
                    own.append(at.index_select(1, chosen))
                    index.append(chosen + begin)
            begin += points.shape[1]
        if not spines:
            return
        table, above = self.table[spines, numbers], self.table[spines, [max(n - 1, 0) for n in numbers]]
        label, each = self.labels[spines, numbers], blur[spines, 0]
        if len(spines) == 1:
            (u, v, w), points = own[0], index[0]
            new = vertebra_at(u, v, w, View(table[0]), View(above[0]), each[0], ribs)
            bones.put(new, label[0], points)
            return
        rows = torch.repeat_interleave(torch.tensor([len(chosen) for chosen in index]))
        u, v, w = torch.cat(own, 1)
        new = vertebra_at(u, v, w, Rows(table.T.contiguous(), rows), Rows(above.T.contiguous(), rows), each[rows], ribs)
        bones.put(new, label[rows], torch.cat(index))
