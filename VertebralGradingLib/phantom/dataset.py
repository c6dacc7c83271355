"""Patches and blocks on the fly, endlessly and reproducibly, on CPU or accelerator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, grade_of_loss
from VertebralGradingLib.phantom.columns import index
from VertebralGradingLib.phantom.field import Field, Prepared, prepare
from VertebralGradingLib.phantom.imaging import Scanner, draw_scanner
from VertebralGradingLib.phantom.parameters import TRUNK, SpineParameters, healed
from VertebralGradingLib.phantom.patches import Pose, beside, body_middle, pose, scan
from VertebralGradingLib.phantom.pool import PoolSpine
from VertebralGradingLib.phantom.subjects import READER_SD
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.reformation import PATCH_SIZE, VOI_SIGMA_MM

WINDOW = 9
"""Vertebrae evaluated for a patch or block: the one of interest and four on either side."""


@dataclass(frozen=True)
class DatasetOptions:
    """What a data set yields.

    Attributes:
        shape: samples at 1 mm: (128, 128, 1) for patches, such as (96, 96, 96) for blocks.
        batch: items of a batch.
        balanced: whether grades 0-3 are drawn equally often; else vertebrae are.
        healed: whether the same image before the fracture comes with it.
        reader_noise: whether ``grade`` is read with a reader's error (``loss`` never is).
        appearance: spread of look and scanner, 0 for one fixed look (for ablations).
        jitter: spread of clicks, tilts and cuts, 0 for the exact pose.
        thick: share of scans with slices of 2 to 5 mm.
        view: "sagittal", or "coronal" for patches whose columns run to the left.
        aside: how far patches may lie beside the body's middle, by half of the body; 0 for wherever was clicked.
        grades: of vertebrae that are drawn.
        beside_broken: whether only neighbours of a vertebra of grade 2 or more are drawn, where there are any.
    """

    shape: tuple[int, int, int] = (PATCH_SIZE, PATCH_SIZE, 1)
    batch: int = 16
    balanced: bool = True
    healed: bool = False
    reader_noise: bool = False
    appearance: float = 1.0
    jitter: float = 1.0
    thick: float = 0.35
    view: str = "sagittal"
    aside: float = 0.0
    grades: tuple[int, ...] = (0, 1, 2, 3)
    beside_broken: bool = False


class PhantomDataset:
    """Endless batches from a pool; batch ``n`` depends on the pool, the options, the seed and ``n`` alone.

    A batch is a dict: ``image`` (B, 1, R, C) or (B, 1, R, C, D) float32 HU, ``voi`` the Gaussian at the clicked place,
    ``mask`` the body of interest, ``bodies`` VerSe labels of all bodies, ``vertebrae`` of whole vertebrae, ``tissue``
    (:data:`soft.TISSUES`), ``depth`` mm inside the nearest body, ``outside`` what the scan does not cover (all of the
    image's shape), ``label`` (B,) the VerSe label of the body of interest, ``grade`` (B,), ``loss`` (B, 3) anterior,
    middle, posterior, ``graded_loss`` (B,), ``position`` (B,) on the axis of levels, ``mimic`` (B,) whether it has one,
    ``up`` (B, 3) the body's own axis in rows, columns, depth, and with ``healed`` the ``healed`` image and its
    ``healed_mask``; with ``aside`` also ``aside`` (B,), how far it lies beside the middle, -1 to 1 by half of the body.

    Args:
        pool: spines with truth (:func:`pool.draw_pool`).
        seed: fixes the order and everything random.
        options: what to yield.
        device: where to compute.
    """

    def __init__(
        self,
        pool: Sequence[PoolSpine],
        seed: int = 0,
        options: DatasetOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.pool, self.seed, self.options, self.device = list(pool), seed, options or DatasetOptions(), device
        items = [(n, level) for n, one in enumerate(self.pool) for level in one.levels]
        grades = np.array([grade_of_loss(max(self.pool[n].graded_loss(level), 0.0)) for n, level in items])
        self.items = items
        wanted = np.ones(len(items), dtype=bool)
        if self.options.beside_broken:
            wanted = np.array([self._beside_broken(n, level) for n, level in items])
            wanted |= not wanted.any()
        self.by_grade = [np.flatnonzero((grades == grade) & wanted) for grade in range(4)]
        self._prepared: dict[int, Prepared] = {}
        self._middles: dict[tuple[int, str], NDArray[np.float64]] = {}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Batches 0, 1, 2, ..."""
        number = 0
        while True:
            yield self.batch(number)
            number += 1

    def batch(self, number: int) -> dict[str, Tensor]:
        """One batch."""
        return self.render(*self.draw(number))

    def draw(self, number: int) -> tuple[list[tuple[int, str]], list[int]]:
        """Items (number in the pool, level) and seeds of one batch, for :meth:`render`."""
        rng = np.random.default_rng([self.seed, number, 71])
        chosen = [self.items[k] for k in self._choose(rng)]
        return chosen, [int(s) for s in rng.integers(1 << 31, size=len(chosen))]

    def labels(self, n: int) -> dict[int, str]:
        """VerSe label -> level of a spine of the pool."""
        one = self._ready(n)
        return {int(label): level for label, level in zip(one.labels, one.spine.levels, strict=True)}

    def render(self, chosen: Sequence[tuple[int, str]], seeds: Sequence[int]) -> dict[str, Tensor]:
        """Render given items (number in the pool, level), each with its own seed for look, scanner and pose."""
        o = self.options
        ready = [self._restyled(n, s) for (n, _), s in zip(chosen, seeds, strict=True)]
        scanners = self._scanners(seeds)
        poses = self.poses(chosen, seeds)
        image, maps = scan(self._field(ready, chosen), poses, scanners)
        labels = torch.tensor(
            [int(one.labels[one.spine.levels.index(level)]) for one, (_, level) in zip(ready, chosen, strict=True)],
            device=image.device,
        )
        out = self._truth(chosen, seeds)
        out["image"], out["label"] = _channel(image), labels
        names = {"bodies": "body", "vertebrae": "vertebra", "tissue": "tissue", "depth": "depth", "outside": "outside"}
        out |= {name: _channel(maps[key]) for name, key in names.items()}
        out["mask"] = _channel((maps["body"] == labels[:, None, None, None]).to(torch.uint8))
        out["voi"] = voi(o.shape).to(image.device).expand(len(chosen), *out["image"].shape[1:])
        if o.aside:
            out["aside"] = torch.tensor([self._aside(s) for s in seeds])
        out["up"] = torch.stack([_up(one, level, p) for one, (_, level), p in zip(ready, chosen, poses, strict=True)])
        if o.healed:
            out["healed"], out["healed_mask"] = self._healed(out, chosen, seeds, poses)
        return {name: value.to(image.device) for name, value in out.items()}

    def _healed(
        self, seen: dict[str, Tensor], chosen: Sequence[tuple[int, str]], seeds: Sequence[int], poses: list[Pose]
    ) -> tuple[Tensor, Tensor]:
        """Images and masks before the fracture of the vertebra of interest; those of whole ones are as they are."""
        image, mask = seen["image"].clone(), seen["mask"].clone()
        broken = [k for k, (n, level) in enumerate(chosen) if level in self.pool[n].spine.fractured()]
        if broken:
            before = [healed(self.pool[n].spine, (level,)) for n, level in (chosen[k] for k in broken)]
            some = [chosen[k] for k in broken], [seeds[k] for k in broken], [poses[k] for k in broken]
            image[broken], bodies = self.scanned(before, *some)
            labels = seen["label"][broken].reshape(-1, *[1] * (bodies.dim() - 1))
            mask[broken] = (bodies == labels).to(mask.dtype)
        return image, mask

    def _beside_broken(self, n: int, level: str) -> bool:
        """Whether the vertebra above or below is of grade 2 or more."""
        one = self.pool[n]
        place = one.levels.index(level)
        around = one.levels[max(place - 1, 0) : place] + one.levels[place + 1 : place + 2]
        return any(one.graded_loss(other) >= GRADE_BOUNDS[1] for other in around)

    def _middle(self, n: int, level: str) -> NDArray[np.float64]:
        if (n, level) not in self._middles:
            self._middles[n, level] = body_middle(self.pool[n].spine, level)
        return self._middles[n, level]

    def poses(self, chosen: Sequence[tuple[int, str]], seeds: Sequence[int]) -> list[Pose]:
        """Where the samples of given items lie, as :meth:`render` places them."""
        out = []
        for (n, level), s in zip(chosen, seeds, strict=True):
            one, o = self._restyled(n, s), self.options
            frame = one.frames[one.spine.levels.index(level)]
            where = pose(one.spine, frame, level, s, o.jitter, o.shape, self._middle(n, level))
            if o.aside or o.view != "sagittal":
                half = one.spine.view.half_width if o.view == "sagittal" else one.spine.view.half_depth
                offset = self._aside(s) * float(half[one.spine.levels.index(level)])
                where = beside(where, frame, self._middle(n, level), offset, o.view)
            out.append(where)
        return out

    def _aside(self, seed: int) -> float:
        """How far beside the middle; near the middle more often."""
        return self.options.aside * float(np.random.default_rng([seed, 75]).triangular(-1.0, 0.0, 1.0))

    def scanned(
        self,
        spines: Sequence[SpineParameters],
        chosen: Sequence[tuple[int, str]],
        seeds: Sequence[int],
        poses: Sequence[Pose],
    ) -> tuple[Tensor, Tensor]:
        """Other states of the same people, with the look, scanner and pose of given items.

        Args:
            spines: for each item its person's spine, broken or healed otherwise; what is caudal stays in its place.
            chosen: items, as in :meth:`render`.
            seeds: of the items.
            poses: of :meth:`poses`.

        Returns:
            images (B, 1, ...) in HU, and VerSe labels of all bodies of the same shape.
        """
        ready = [prepare(self._styled(spine, s)) for spine, s in zip(spines, seeds, strict=True)]
        image, maps = scan(self._field(ready, chosen), list(poses), self._scanners(seeds))
        return _channel(image), _channel(maps["body"])

    def _field(self, ready: list[Prepared], chosen: Sequence[tuple[int, str]]) -> Field:
        middles = [one.spine.levels.index(level) for one, (_, level) in zip(ready, chosen, strict=True)]
        first = [max(min(m - WINDOW // 2, len(r.labels) - WINDOW), 0) for m, r in zip(middles, ready, strict=True)]
        return Field(ready, self.device, windows=(first, WINDOW))

    def _choose(self, rng: np.random.Generator) -> list[int]:
        groups = [self.by_grade[grade] for grade in self.options.grades if len(self.by_grade[grade])]
        if not groups:
            raise InputError("The pool has no vertebra of these grades.", "Draw more spines.")
        if not self.options.balanced:
            every = np.sort(np.concatenate(groups))
            return [int(every[k]) for k in rng.integers(len(every), size=self.options.batch)]
        return [int(rng.choice(groups[int(rng.integers(len(groups)))])) for _ in range(self.options.batch)]

    def _restyled(self, n: int, seed: int) -> Prepared:
        """A pool spine in place, with a new look; its geometry is computed once."""
        ready = self._ready(n)
        return replace(ready, spine=self._styled(ready.spine, seed))

    def _ready(self, n: int) -> Prepared:
        if n not in self._prepared:
            self._prepared[n] = prepare(self.pool[n].spine)
        return self._prepared[n]

    def _styled(self, spine: SpineParameters, seed: int) -> SpineParameters:
        other = self.pool[int(np.random.default_rng([seed, 72]).integers(len(self.pool)))].spine
        return restyle(spine, other, seed, self.options.appearance)

    def _scanners(self, seeds: Sequence[int]) -> list[Scanner]:
        return [draw_scanner(s, self.options.appearance, self.options.thick) for s in seeds]

    def _truth(self, chosen: Sequence[tuple[int, str]], seeds: Sequence[int]) -> dict[str, Tensor]:
        rows = []
        for (n, level), s in zip(chosen, seeds, strict=True):
            one = self.pool[n]
            true = one.truths.get(level)
            graded = one.graded_loss(level)
            error = 0.0
            if self.options.reader_noise:
                rng = np.random.default_rng([s, 73])
                error = float(rng.normal(0, rng.uniform(*READER_SD)))
            grade = grade_of_loss(max(graded + error, 0.0))
            loss = true.loss if true is not None else (0.0, 0.0, 0.0)
            rows.append([grade, graded, *loss, axis_position(level), float(level in one.mimics)])
        table = torch.tensor(rows, dtype=torch.float32)
        return {
            "grade": table[:, 0].long(),
            "graded_loss": table[:, 1],
            "loss": table[:, 2:5],
            "position": table[:, 5],
            "mimic": table[:, 6].bool(),
        }


def voi(shape: tuple[int, int, int]) -> Tensor:
    """(R, C) or (R, C, D) Gaussian of peak 1 at the middle (:data:`reformation.VOI_SIGMA_MM`)."""
    out = torch.ones(())
    for size in shape if shape[2] > 1 else shape[:2]:
        offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        out = out[..., None] * torch.exp(-0.5 * (offset / VOI_SIGMA_MM) ** 2)
    return out


def restyle(spine: SpineParameters, other: SpineParameters, seed: int, amount: float = 1.0) -> SpineParameters:
    """The same geometry with another look: soft tissue of ``other``, densities and textures moved and drawn anew."""
    if amount == 0.0:
        return spine
    rng = np.random.default_rng([seed, 74])
    table = spine.vertebrae.copy()
    shift = float(np.clip(rng.normal(0, 45.0), -90, 90)) * amount
    core = table[:, index("core_hu")]
    table[:, index("core_hu")] = np.clip(core + shift, np.minimum(core, 0.0), np.maximum(core, 340.0))
    for name, spread in (("cortex_hu", 0.2), ("shell", 0.25), ("plate_shell", 0.25), ("texture_hu", 0.25)):
        table[:, index(name)] *= float(np.exp(rng.normal(0, spread * amount)))
    for name in ("tex_u", "tex_v", "tex_w"):
        table[:, index(name)] += float(rng.uniform(0, 300))
    table[:, index("disc_hu")] += float(rng.normal(0, 10.0)) * amount
    trunk = other.trunk.copy()
    for name in ("seed_x", "seed_y", "seed_z"):
        trunk[TRUNK.index(name)] += float(rng.uniform(0, 500))
    return replace(spine, vertebrae=table, trunk=trunk)


def _channel(x: Tensor) -> Tensor:
    """(B, R, C, D) -> (B, 1, R, C), or (B, 1, R, C, D) where there is depth."""
    return x[:, None, ..., 0] if x.shape[-1] == 1 else x[:, None]


def _up(ready: Prepared, level: str, where: Pose) -> Tensor:
    up = ready.frames[ready.spine.levels.index(level), :3, 2]
    affine = where.grid.affine
    assert affine is not None  # poses are rigid
    return torch.from_numpy(np.linalg.solve(affine[:3, :3], up)).float()
