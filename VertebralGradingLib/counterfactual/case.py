"""A vertebra of a measured study, ready to be warped, and its pictures with their checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.checks import Checked, gas_share, outside_share
from VertebralGradingLib.counterfactual.columns import Posture
from VertebralGradingLib.counterfactual.request import Health, health_of_evidence
from VertebralGradingLib.counterfactual.toning import Tone, toned
from VertebralGradingLib.counterfactual.warp import Warp, Warper, warped_volume
from VertebralGradingLib.errors import CentroidError, MethodError
from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import BodyMask
from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS
from VertebralGradingLib.spine.reformation import Grid
from VertebralGradingLib.study import MeasuredVertebra, Study

_TONE_LEVELS = 3
"""Sound vertebrae to either side whose grey is taken."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A warped picture on a grid.

    Attributes:
        image: (rows, columns, depth) HU.
        mask: the body in it.
        rise_mm: how far what is seen at each place was moved up.
        checked: numbers behind :attr:`reasons`.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    rise_mm: NDArray[np.float32]
    checked: Checked

    @property
    def reasons(self) -> list[str]:
        """Why this is no convincing picture, in words; none where it is one."""
        return self.checked.reasons


@dataclass(frozen=True, eq=False)
class WarpCase:
    """One vertebra of a study.

    Attributes:
        level: which.
        ct: HU.
        warper: what moves, and how.
        tone: grey of sound neighbours, None where there is none.
        flags: of the vertebra.
        above: the next body above, None where it is not known.
        below: the next body below, None where it is not known.
    """

    level: str
    ct: Volume
    warper: Warper
    tone: Tone | None
    flags: tuple[str, ...]
    above: BodyMask | None = None
    below: BodyMask | None = None

    @cached_property
    def gas(self) -> float:
        """Share of gas in the body."""
        return gas_share(self.ct, self.warper.own.body)

    def toning(self, warp: Warp) -> float:
        """How much of the core takes the neighbours' tone: the share of a broken vertebra's loss that is undone."""
        before = self.warper.health.graded
        if self.tone is None or before < GRADE_BOUNDS[0]:
            return 0.0
        return float(np.clip(1.0 - warp.graded / before, 0.0, 1.0))

    def shown(self, warp: Warp, grid: Grid, tone: bool = True) -> Shown:
        """The picture of a warp on a grid (1 mm), with its checks.

        Args:
            warp: of this vertebra.
            grid: where its samples lie.
            tone: whether a core that is raised takes its neighbours' tone.
        """
        own = self.warper.own.body
        points = grid.points()
        source = warp.field.source(points)
        image = np.asarray(sample(self.ct, source), dtype=np.float32)
        before, after = (sample(own.as_volume(), places, fill=0.0) >= 0.5 for places in (points, source))
        outside = outside_share(self.ct, warp.field, grid, before, after, source)
        rise = ((points - source) @ warp.field.axes[:, 2]).astype(np.float32)
        amount = self.toning(warp) if tone else 0.0
        if self.tone is not None and amount > 0.0:
            flat = image.shape[-1] == 1
            values, mask = (image[..., 0], after[..., 0]) if flat else (image, after)
            image = toned(values, mask, self.tone, amount).reshape(image.shape)
        checked = Checked(
            warp.least_jacobian, warp.missed_mm, self.gas, self.warper.seam.through_bone, outside, self.flags
        )
        return Shown(image, after, rise, checked)

    def volume(self, warp: Warp, tone: bool = True) -> Volume:
        """The CT itself warped, on its own voxels: the crop in which anything moves.

        Args:
            warp: of this vertebra.
            tone: as for :meth:`shown`.
        """
        part, _ = warped_volume(self.ct, warp.field)
        amount = self.toning(warp) if tone else 0.0
        if self.tone is None or amount <= 0.0:
            return part
        box, mask = _body_in(part, self.warper.body(warp.field).as_volume())
        values = toned(np.asarray(part.array[box], dtype=np.float32), mask, self.tone, amount, part.spacing)
        whole = np.iinfo(part.array.dtype) if part.array.dtype.kind in "iu" else None
        if whole is not None:
            values = np.clip(np.rint(values), whole.min, whole.max)
        array = np.array(part.array)
        array[box][mask] = values[mask]
        return Volume(array, part.affine, part.notes)


def _body_in(volume: Volume, body: Volume) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """The box of a volume's voxels that a body lies in, and where it lies there."""
    ends = np.array(np.meshgrid(*((0.0, n - 1.0) for n in body.shape))).reshape(3, -1).T
    corners = volume.to_index(body.to_ras(ends))
    low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, np.array(volume.shape) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, low + 1, volume.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    return box, sample(body, volume.to_ras(index), fill=0.0) >= 0.5


def warp_case(
    study: Study, level: str, posture: Posture | None = None, reference_mm: NDArray[np.float64] | None = None
) -> WarpCase:
    """Prepare a vertebra of a judged study.

    Args:
        study: with a CT, judged by morphometry (:func:`methods.morphometric.judged`).
        level: which vertebra.
        posture: how the spine above follows.
        reference_mm: (3,) expected heights, where the study shows only a part of the spine that told them; those of
            the study's own evidence by default.

    Raises:
        MethodError: the study has no CT.
        CentroidError: no such vertebra, or it has no heights.
        MaskError: hardly anything of its endplates is left.
    """
    if study.ct is None:
        raise MethodError("A warp needs a CT.", "Give a CT beside the mask.")
    items = list(study.vertebrae)
    place = next((n for n, item in enumerate(items) if item.vertebra.level == level), None)
    said = None if study.heights is None else study.heights.get(level)
    own = None if place is None else items[place].measurement
    if place is None or own is None or said is None:
        raise CentroidError(f"{level} was not measured.", "Choose a vertebra that has heights.")
    above, below = (_next(items, place, step) for step in (-1, 1))
    steps = [step for step in study.spine.spacing_mm(study.spine.by_level[level]) if step is not None]
    warper = Warper.of(
        own,
        health_of_evidence(said.quantities) if reference_mm is None else Health.of(own.heights_mm, reference_mm),
        None if above is None else above.measurement,
        None if below is None else below.measurement,
        min(steps, default=33.0),
        study.ct,
        _arches(study, level, above),
        posture,
    )
    bodies = [None if one is None or one.measurement is None else one.measurement.body for one in (above, below)]
    return WarpCase(level, study.ct, warper, _tone(study, place), items[place].flags, *bodies)


def _next(items: list[MeasuredVertebra], place: int, step: int) -> MeasuredVertebra | None:
    """The neighbour in the same chain, when it was measured whole and no level lies between."""
    other = place + step
    if not 0 <= other < len(items):
        return None
    one, own = items[other], items[place].vertebra
    beside = one.vertebra.chain == own.chain and abs(one.vertebra.order - own.order) == 1
    gap = abs(one.vertebra.axis_position - own.axis_position) > 1.0 if one.vertebra.known and own.known else False
    return one if beside and not gap and one.measurement is not None and CUT not in one.flags else None


def _arches(study: Study, level: str, above: MeasuredVertebra | None) -> tuple[Volume, Volume] | None:
    """Whole vertebra and the one above it as 0 / 1, where a mask shows them with their arches."""
    labels = study.labels
    if labels is None or above is None or labels.kind == "body":
        return None
    upper = above.vertebra.level
    if level not in labels.by_level or upper not in labels.by_level:
        return None
    own_label, upper_label = labels.by_level[level], labels.by_level[upper]
    bodies = {item.vertebra.level: item.measurement for item in study.vertebrae}
    own = labels.indicator(own_label)
    body = bodies[level]
    volume = float(own.array.sum() * np.prod(own.spacing))
    if body is None or volume < _WITH_ARCH * body.body.volume_mm3:
        return None
    return own, labels.indicator(upper_label)


_WITH_ARCH = 1.2
"""A mask so much larger than the body holds the arch too."""


def _tone(study: Study, place: int) -> Tone | None:
    """Grey of the sound bodies beside a vertebra."""
    near = study.vertebrae[max(place - _TONE_LEVELS, 0) : place + _TONE_LEVELS + 1]
    sound = [item.density for item in near if item.vertebra.level not in study.fractured and item.density is not None]
    hu = [one.trabecular_hu for one in sound if one.trabecular_hu is not None and not one.foreign]
    sd = [one.trabecular_sd_hu for one in sound if one.trabecular_sd_hu is not None and not one.foreign]
    return Tone(float(np.median(hu)), float(np.median(sd))) if hu and sd else None
