"""Dice and surface distance of the classical body mask against reference masks, and centroid errors.

Prints one table. The data folder is $VERTEBRAL_GRADING_DATA, or ../shared/data beside the checkout; the CTs and masks
are the project's development set, so the figures are development figures.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from VertebralGradingLib.image_io import read_labels, read_volume
from VertebralGradingLib.morphometry import Measurement, measure
from VertebralGradingLib.points import read_points
from VertebralGradingLib.sampling import sample
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.segmentation.body import STEP_MM
from VertebralGradingLib.segmentation.labels import body_from_labels, centroids_from_labels, interpret
from VertebralGradingLib.spine import build_spine
from VertebralGradingLib.study import prepare
from VertebralGradingLib.volume import Volume

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def main() -> None:
    """Print the table, or say why not."""
    if not DATA.is_dir():
        print("no data folder: set VERTEBRAL_GRADING_DATA")
        sys.exit(0)
    print("classical body mask (points only) against reference masks; development data")
    print("case               level  Dice   surface distance (mm)   height error ant/mid/post (mm)   confidence")
    for case, ct_name, points_name, references in _cases():
        ct = read_volume(DATA / ct_name)
        spine = build_spine(read_points(DATA / points_name))
        for item in prepare(ct, spine).vertebrae:
            if item.vertebra.level in references and item.measurement is not None:
                _row(case, item.vertebra.level, item.measurement, references[item.vertebra.level])
    _centroids()


def _row(case: str, level: str, found: Measurement, reference: Volume) -> None:
    body = found.body
    truth = sample(Volume(reference.array * np.int16(1000), reference.affine), body.grid.points(), fill=0) >= 500
    mask = body.occupancy >= 0.5
    dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
    labels = VertebraLabels(reference, {1: level}, "body")
    given = measure(body_from_labels(labels, 1, body.centroid(), body.axes)[0], float(reference.spacing.max()))
    error = found.heights_mm - given.heights_mm
    print(
        f"{case:18s} {level:5s}  {dice:.3f}  {_surface_distance(mask, truth):.2f}"
        f"                    {error[0]:+.1f} / {error[1]:+.1f} / {error[2]:+.1f}"
        f"                {body.confidence:.2f}"
    )


def _surface_distance(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Mean symmetric surface distance (mm)."""
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    far = [distance_transform_edt(~edge, sampling=STEP_MM) for edge in edges]
    return float(np.concatenate([far[1][edges[0]], far[0][edges[1]]]).mean())


def _cases() -> list[tuple[str, str, str, dict[str, Volume]]]:
    whole = read_labels(DATA / "totalseg-example/totalseg.nii.gz")
    bodies = read_labels(DATA / "totalseg-example/totalseg_vertebrae_body.nii.gz")
    totalseg = {
        f"L{n}": Volume(((whole.array == 32 - n) & (bodies.array == 1)).astype(np.uint8), whole.affine)
        for n in range(1, 6)
    }
    vert = read_labels(DATA / "tptbox-l3/sub-ct_seg-vert_label-22_msk.nii.gz")
    part = read_labels(DATA / "tptbox-l3/sub-ct_seg-subreg_label-22_msk.nii.gz")
    tptbox = {"L3": Volume(((vert.array == 22) & np.isin(part.array, (49, 50))).astype(np.uint8), vert.affine)}
    return [
        (
            "totalseg-example",
            "totalseg-example/example_ct.nii.gz",
            "totalseg-example/example_bodies.mrk.json",
            totalseg,
        ),
        ("tptbox-l3", "tptbox-l3/sub-ct_label-22_ct.nii.gz", "tptbox-l3/sub-ct_bodies.mrk.json", tptbox),
    ]


def _centroids() -> None:
    print("\nbody centroids from a whole-vertebra mask against VerSe's ctd (verse004)")
    mask = read_labels(DATA / "verse004/sub-verse004_seg-vert_msk.nii.gz")
    truth = {
        p.level: np.array(p.position) for p in read_points(DATA / "verse004/sub-verse004_seg-subreg_ctd.json", mask)
    }
    errors = {}
    for point in centroids_from_labels(interpret(mask)):
        if point.level in truth:
            errors[point.level] = float(np.linalg.norm(np.array(point.position) - truth[point.level]))
    print("  " + "  ".join(f"{level} {error:.1f}" for level, error in errors.items()))
    print(f"  mean {np.mean(list(errors.values())):.2f} mm, largest {max(errors.values()):.2f} mm")


if __name__ == "__main__":
    main()
