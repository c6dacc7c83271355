"""One study on its way through the package: images, spine, and the body of every vertebra, measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from VertebralGradingLib.defects import EndplateDefect, find_defects
from VertebralGradingLib.density import Density, body_density
from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.morphometry import Measurement, measure, slab_heights
from VertebralGradingLib.segmentation import VertebraLabels, find_body
from VertebralGradingLib.spine import Spine, Vertebra
from VertebralGradingLib.volume import Volume

THICK_SLICES_MM = 4.0
"""From here on one slice is more than the 5 % of height that grade 1 is wide."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class MeasuredVertebra:
    """One vertebra with what was measured on it; ``measurement`` is None when ``problem`` says why not."""

    vertebra: Vertebra
    measurement: Measurement | None = None
    defects: tuple[EndplateDefect, ...] = ()
    heights_without_defects: np.ndarray | None = None
    density: Density | None = None
    flags: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Study:
    """What methods work on.

    Attributes:
        ct: HU, None when only a mask is given.
        spine: ordered centroids; axial rotation from the arch where a mask shows it.
        labels: the given mask, or None.
        vertebrae: gradable vertebrae, cranial to caudal.
    """

    ct: Volume | None
    spine: Spine
    labels: VertebraLabels | None
    vertebrae: tuple[MeasuredVertebra, ...] = field(default=())


def prepare(
    ct: Volume | None, spine: Spine, labels: VertebraLabels | None = None, progress: Progress | None = None
) -> Study:
    """Find and measure the body of every gradable vertebra.

    Args:
        ct: HU, or None.
        spine: ordered centroids.
        labels: vertebra mask, or None.
        progress: called with (done, total, level) before each vertebra.
    """
    chosen = [vertebra for vertebra in spine.vertebrae if vertebra.gradable_level]
    measured, hints = [], {}
    for number, vertebra in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), vertebra.level)
        result, hint = _measure_one(ct, spine, vertebra, labels)
        measured.append(result)
        if hint is not None:
            hints[vertebra.level] = hint
    return Study(ct, spine.with_anterior(hints), labels, tuple(measured))


def _measure_one(
    ct: Volume | None, spine: Spine, vertebra: Vertebra, labels: VertebraLabels | None
) -> tuple[MeasuredVertebra, np.ndarray | None]:
    volume = ct if ct is not None else labels.volume if labels is not None else None
    flags = [*vertebra.flags]
    if volume is not None and not bool(volume.contains(vertebra.center)):
        return MeasuredVertebra(vertebra, flags=(*flags, "outside_volume"), problem="centroid outside the volume"), None
    try:
        body, arch = find_body(ct, spine, vertebra, labels)
        if arch is not None:
            turned = spine.with_anterior({vertebra.level: arch})
            body, arch = find_body(ct, turned, turned.by_level[vertebra.level], labels)
        flags += body.flags
        slice_mm = volume.spacing_along(body.axes[:, 2]) if volume is not None else 1.0
        if slice_mm >= THICK_SLICES_MM:
            flags.append("thick_slices")
        measurement = measure(body, slice_mm)
    except MaskError as error:
        return MeasuredVertebra(vertebra, flags=(*flags, "not_measurable"), problem=error.message.rstrip(".")), None
    found, filled = find_defects(measurement.sheets)
    without = None
    if found:
        flags.append("focal_endplate_defect")
        without = slab_heights(measurement.body, filled, measurement.middle_left_mm)
    density = body_density(ct, measurement.body) if ct is not None else None
    if density is not None and density.foreign:
        flags.append("implant_or_cement")
    result = MeasuredVertebra(vertebra, measurement, tuple(found), without, density, tuple(dict.fromkeys(flags)))
    return result, arch
