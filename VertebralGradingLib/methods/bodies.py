"""The bodies of a measured study as one label volume on the voxels of its image."""

from __future__ import annotations

import numpy as np

from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.study import Study


def body_labels(study: Study) -> VertebraLabels | None:
    """Label every measured body on the grid of the study's CT, or of its mask where there is no CT.

    Returns:
        A uint8 crop of that grid around the bodies, labels 1, 2, ... from cranial to caudal with their levels; None
        when no body was measured. Where two found bodies touch, a voxel belongs to the lower one.
    """
    image = study.ct if study.ct is not None else study.labels.volume if study.labels is not None else None
    measured = [item for item in study.vertebrae if item.measurement is not None]
    if image is None or not measured:
        return None
    parts = [item.measurement.body.to_labels(image) for item in measured if item.measurement is not None]
    low = np.min([[s.start for s in region] for _, region in parts], axis=0)
    high = np.max([[s.stop for s in region] for _, region in parts], axis=0)
    labels = np.zeros(high - low, dtype=np.uint8)
    for number, (inside, region) in enumerate(parts, start=1):
        where = tuple(slice(s.start - a, s.stop - a) for s, a in zip(region, low, strict=True))
        labels[where][inside] = number
    affine = image.affine.copy()
    affine[:3, 3] = image.to_ras(low)
    names = {number: item.vertebra.level for number, item in enumerate(measured, start=1)}
    return VertebraLabels(Volume(labels, affine), names, "body")
