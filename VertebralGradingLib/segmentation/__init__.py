"""Vertebral-body masks: given by a segmentation, or found on the CT. :func:`find_body` is the one entry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import STEP_MM, BodyMask
from VertebralGradingLib.segmentation.finders import CLASSICAL, Finder
from VertebralGradingLib.segmentation.labels import VertebraLabels, body_from_labels
from VertebralGradingLib.segmentation.separate import separate
from VertebralGradingLib.spine.spine import Spine, Vertebra

__all__ = ["CLASSICAL", "BodyMask", "Finder", "VertebraLabels", "find_body", "mask_label", "separate"]

_CUT_SHARE = 0.004
_PADDING_HU = -1000
"""Resampled and tilt-corrected CTs are padded with air; lung beside a vertebra is about -850."""
_PADDED_SHARE = 0.10


def find_body(
    ct: Volume | None,
    spine: Spine,
    vertebra: Vertebra,
    labels: VertebraLabels | None = None,
    finder: Finder = CLASSICAL,
) -> tuple[BodyMask, NDArray[np.float64] | None]:
    """The body of one vertebra: out of the mask where there is one, else found on the CT.

    Returns:
        The body, and the RAS direction from arch to body where a whole-vertebra mask shows it.

    Raises:
        MaskError: neither mask nor CT has this vertebra.
    """
    label = None if labels is None else mask_label(labels, vertebra)
    arch = body = None
    if labels is not None and label is not None:
        there = labels.label_at(vertebra.center)
        if there is not None and there != label:
            raise MaskError(
                f"The centroid named {vertebra.level} lies in the mask's {labels.names[there] or 'other body'}.",
                "Correct the names of the centroids or of the mask.",
            )
        try:
            body, arch = body_from_labels(labels, label, vertebra.center, spine.axes(vertebra))
        except MaskError:
            if ct is None:
                raise
    if labels is not None and body is not None:
        volume = labels.edges
    elif ct is not None:
        body = finder.find(ct, vertebra.center, spine.axes(vertebra), *spine.spacing_mm(vertebra))
        body = replace(body, flags=(*body.flags, "mask_found", *finder.flags))
        volume = ct
    else:
        raise MaskError(
            f"The mask has no vertebra at the centroid of {vertebra.level}.", "Check that they belong together."
        )
    if cut_by_edge(volume, body):
        body = replace(body, flags=(*body.flags, "cut_by_volume_edge"))
    return body, arch


def mask_label(labels: VertebraLabels, vertebra: Vertebra) -> int | None:
    """A vertebra's label in a mask, by its level or else by its place; None where the mask has none there."""
    label = labels.by_level.get(vertebra.level) if vertebra.known else None
    return labels.label_at(vertebra.center) if label is None else label


def cut_by_edge(volume: Volume, body: BodyMask) -> bool:
    """Whether a body reaches the edge of the volume or of what it shows, so that part of it may be missing."""
    from scipy.ndimage import binary_dilation

    reach = int(np.ceil(1.5 * volume.spacing.max() / STEP_MM[0]))
    box = body.box(margin=max(reach, 2))
    solid = body.occupancy[box] >= 0.5
    grid = body.grid.box([side.start for side in box], [side.stop for side in box])
    points = grid.to_ras(np.argwhere(binary_dilation(solid, iterations=2))[::3])
    if not len(points) or (~volume.contains(points)).mean() > _CUT_SHARE:
        return bool(len(points))
    if volume.array.dtype != np.int16:
        return False
    above_and_below = binary_dilation(solid, np.ones((3, 1, 1), bool), iterations=reach) & ~solid
    shell = grid.to_ras(np.argwhere(above_and_below)[::3])
    return bool((sample(volume, shell, order=0) <= _PADDING_HU).mean() > _PADDED_SHARE)
