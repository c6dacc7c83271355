"""One study on its way through the package: images, spine, and the body of every vertebra, measured once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.findings import Evidence
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.defects import EndplateDefect, find_defects
from VertebralGradingLib.morphometry.density import Density, body_density
from VertebralGradingLib.morphometry.endplates import Endplates, measure_endplates
from VertebralGradingLib.morphometry.heights import Measurement, measure, slab_heights
from VertebralGradingLib.segmentation import (
    CLASSICAL,
    BodyMask,
    Finder,
    VertebraLabels,
    find_body,
    mask_label,
    separate,
)
from VertebralGradingLib.spine.curve import SUPERIOR
from VertebralGradingLib.spine.spine import Spine, Vertebra

THICK_SLICES_MM = 3.5
"""From here on one slice is much more than the 5 % of height (about 1.2 mm) that grade 1 is wide."""

_AT_ONCE = 2
"""Vertebrae that are searched together: a network's first blocks then do not come alone, and rows need not wait long.

On one core four at once were no faster (``Testing/benchmarks/bench_bodies.py``).
"""

Progress = Callable[[int, int, str], bool | None]
"""Called with (done, total, level) before each vertebra and once at the end; returning False stops."""


@dataclass(frozen=True, eq=False)
class MeasuredVertebra:
    """One vertebra with what was measured on it; ``measurement`` is None when ``problem`` says why not."""

    vertebra: Vertebra
    measurement: Measurement | None = None
    defects: tuple[EndplateDefect, ...] = ()
    heights_without_defects: NDArray[np.float64] | None = None
    density: Density | None = None
    flags: tuple[str, ...] = ()
    problem: str = ""
    endplates: Endplates | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """What methods work on.

    Attributes:
        ct: HU, None when only a mask is given.
        spine: ordered centroids; axial rotation from the arch where a mask shows it.
        labels: the given mask, or None.
        vertebrae: gradable vertebrae, cranial to caudal.
        heights, broken: what morphometry says, by level, and which levels it gives grade 1 or more; None until it has
            judged (:func:`methods.morphometric.judged`).
        complete: False while vertebrae are still to come, or when the run was stopped.
    """

    ct: Volume | None
    spine: Spine
    labels: VertebraLabels | None
    vertebrae: tuple[MeasuredVertebra, ...] = field(default=())
    complete: bool = True
    heights: dict[str, Evidence] | None = None
    broken: frozenset[str] | None = None

    @property
    def fractured(self) -> set[str]:
        """Levels that morphometry gives grade 1 or more, also by what is left of a cut body.

        Raises:
            ValueError: it has not judged this study.
        """
        if self.broken is None:
            raise ValueError("morphometry has not judged this study")
        return set(self.broken)


def prepare(
    ct: Volume | None,
    spine: Spine,
    labels: VertebraLabels | None = None,
    progress: Progress | None = None,
    on_measured: Callable[[Study], None] | None = None,
    finder: Finder = CLASSICAL,
) -> Study:
    """Find and measure the body of every gradable vertebra.

    Two at once are searched on the CT (:data:`_AT_ONCE`); rows come, and a run stops, one by one.

    Args:
        ct: HU, or None.
        spine: ordered centroids.
        labels: vertebra mask, or None.
        progress: see :data:`Progress`; a stopped run returns what was measured so far.
        on_measured: called after each vertebra with the study as far as it is.
        finder: how bodies are found that no mask shows.

    Raises:
        InputError: neither CT nor mask.
    """
    chosen = [vertebra for vertebra in spine.vertebrae if vertebra.gradable_level]
    volume = ct if ct is not None else labels.volume if labels is not None else None
    if volume is None:
        raise InputError("There is neither a CT nor a mask.", "Give a CT, a mask, or both.")
    last: _Found | None = None
    hints: dict[str, NDArray[np.float64]] = {}
    measured: list[MeasuredVertebra] = []

    def finish(one: _Found) -> None:
        measured.append(_measure_one(ct, one, volume))
        if on_measured is not None:
            on_measured(Study(ct, spine, labels, tuple(measured), complete=False))

    complete, each = True, _find_each(ct, spine, chosen, labels, volume, finder)
    for number, vertebra in enumerate(chosen):
        if progress is not None and progress(number, len(chosen), vertebra.level) is False:
            complete = False
            break
        one = next(each)
        if one.arch is not None:
            hints[vertebra.level] = one.arch
        if last is not None:
            _part(last, one)
            finish(last)
        last = one
    if last is not None:
        finish(last)
    if progress is not None and complete:
        progress(len(chosen), len(chosen), "")
    return Study(ct, spine.with_anterior(hints), labels, tuple(measured), complete)


@dataclass(eq=False)
class _Found:
    vertebra: Vertebra
    body: BodyMask | None = None
    arch: NDArray[np.float64] | None = None
    flags: tuple[str, ...] = ()
    problem: str = ""
    up: NDArray[np.float64] = field(default_factory=lambda: SUPERIOR)


def _find_each(
    ct: Volume | None,
    spine: Spine,
    chosen: list[Vertebra],
    labels: VertebraLabels | None,
    volume: Volume,
    finder: Finder,
) -> Iterator[_Found]:
    """Bodies in their order; those that no mask shows are searched a few at once, when the first of them is due."""

    def searched(vertebra: Vertebra) -> bool:
        shown = labels is not None and mask_label(labels, vertebra) is not None
        return not shown and bool(volume.contains(vertebra.center))

    for start in range(0, len(chosen), _AT_ONCE):
        few, ready = chosen[start : start + _AT_ONCE], finder
        if ct is not None:
            with contextlib.suppress(MaskError):  # then each is searched by itself, and tells what is wrong
                ready = finder.ahead(ct, [(one.center, spine.axes(one)) for one in few if searched(one)])
        for vertebra in few:
            yield _find_one(ct, spine, vertebra, labels, volume, ready)


def _find_one(
    ct: Volume | None, spine: Spine, vertebra: Vertebra, labels: VertebraLabels | None, volume: Volume, finder: Finder
) -> _Found:
    if not bool(volume.contains(vertebra.center)):
        return _Found(vertebra, flags=("outside_volume",), problem="centroid outside the volume")
    try:
        body, arch = find_body(ct, spine, vertebra, labels, finder)
        if arch is not None:
            turned = spine.with_anterior({vertebra.level: arch})
            body, arch = find_body(ct, turned, turned.by_level[vertebra.level], labels, finder)
    except MaskError as error:
        return _Found(vertebra, flags=("not_measurable",), problem=error.message.rstrip("."))
    return _Found(vertebra, body, arch, body.flags, up=spine.axes(vertebra)[:, 2])


def _part(upper: _Found, lower: _Found) -> None:
    """Part two neighbouring bodies that were found one by one where they overlap; given masks are left as they are."""
    if upper.body is None or lower.body is None or upper.vertebra.chain != lower.vertebra.chain:
        return
    if "given" not in (upper.body.source, lower.body.source):
        upper.body, lower.body = separate(upper.body, lower.body)


def _measure_one(ct: Volume | None, one: _Found, volume: Volume) -> MeasuredVertebra:
    flags = [*one.vertebra.flags, *one.flags]
    if one.body is None:
        return MeasuredVertebra(one.vertebra, flags=tuple(flags), problem=one.problem)
    slice_mm = max(volume.spacing_along(up) for up in (one.up, one.body.axes[:, 2]))
    if slice_mm >= THICK_SLICES_MM:
        flags.append("thick_slices")
    try:
        measurement = measure(one.body, slice_mm)
        if one.body.height_sd_mm is not None:  # the search has counted the slices
            measurement = replace(measurement, sd_mm=one.body.height_sd_mm)
    except MaskError as error:
        flags.append("not_measurable")
        return MeasuredVertebra(one.vertebra, flags=tuple(flags), problem=error.message.rstrip("."))
    found, filled = find_defects(measurement.sheets)
    without = None
    if found:
        try:
            without = slab_heights(measurement.body, filled, measurement.middle_left_mm)
            flags.append("focal_endplate_defect")
        except MaskError:
            found = []  # with the pit filled there is no body left to measure: no focal defect of one
    density = body_density(ct, measurement.body) if ct is not None else None
    if density is not None and density.foreign:
        flags.append("implant_or_cement")
    endplates = measure_endplates(measurement.sheets)
    flags = list(dict.fromkeys(flags))
    return MeasuredVertebra(
        one.vertebra, measurement, tuple(found), without, density, tuple(flags), endplates=endplates
    )
