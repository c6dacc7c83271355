"""Bodies found on real CT by the classical search and by the network against reference masks; grades from points.

The data folder is $VERTEBRAL_GRADING_DATA, or ../shared/data beside the checkout; it is the project's development set,
on which the network was selected: every figure is a development figure. verse004 and healthivert-0007 have masks only;
their CTs are rendered from them (:mod:`rendering.mask_ct`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import DATA
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, zoom

from VertebralGradingLib.errors import MaskError, MethodError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.io import read_labels, read_volume
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.body import STEP_MM
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation import BodyMask, VertebraLabels
from VertebralGradingLib.segmentation.classical import find_body_classical
from VertebralGradingLib.segmentation.finders import Find
from VertebralGradingLib.segmentation.labels import body_from_labels, centroids_from_labels, interpret
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine

SHIFTS = ((0.0, 3.0, 0.0), (0.0, -3.0, 0.0), (0.0, 0.0, 2.5), (0.0, 0.0, -2.5), (3.0, 0.0, 0.0))
"""Right, anterior, up (mm): as far off as sheet 7's probe was tried with."""
_FINER = 3
EDGE_MM = 0.5
"""How far outside the half maximum reference masks are drawn: one constant for all, by which found edges are moved out
in the columns "moved"; sheet 7 measured a bias of 0.9 mm in height, two edges."""


@dataclass(frozen=True, eq=False)
class Reference:
    """One CT with reference bodies: level -> occupancy block."""

    name: str
    ct: Volume
    spine: Spine
    bodies: dict[str, BodyMask]
    slice_mm: float


def main() -> None:
    """Print the tables, or say why not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", nargs="*", default=["classical", "network"], help="classical, network")
    parser.add_argument(
        "--weights", nargs="*", default=[], help="weight files to compare, instead of the model shipped"
    )
    parser.add_argument("--edge", type=float, default=EDGE_MM, help="how far outside reference masks are drawn (mm)")
    parser.add_argument("--shifts", action="store_true", help="also from centroids 3 mm off")
    parser.add_argument("--rendered", action="store_true", help="also CTs rendered from masks")
    parser.add_argument("--grades", action="store_true", help="also grades from points alone")
    parser.add_argument("--overlays", type=Path, help="folder for pictures")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("no data folder: set VERTEBRAL_GRADING_DATA")
        sys.exit(0)
    searches = dict(_searches(args.search, args.weights))
    references = list(_references(args.rendered))
    shifts = ((0.0, 0.0, 0.0), *(SHIFTS if args.shifts else ()))
    for name, find in searches.items():
        started, rows = time.perf_counter(), []
        for reference in references:
            rows += _table(name, reference, find, shifts, args.edge, args.overlays)
        _summary(name, rows, time.perf_counter() - started)
    if args.grades:
        for name in args.search:
            _grades(name)
    _centroids()


def _searches(names: list[str], weights: list[str]) -> Iterator[tuple[str, Find]]:
    if "classical" in names:
        yield "classical", find_body_classical
    if weights:
        from VertebralGradingLib.segmentation.learned import finder_of_weights

        for path in weights:
            yield Path(path).stem, finder_of_weights(Path(path))
    elif "network" in names:
        from VertebralGradingLib.segmentation.finders import choose_finder

        try:
            yield "network", choose_finder("network").find
        except MethodError as error:
            print(f"no network: {error.message}")


def _references(rendered: bool) -> Iterator[Reference]:
    whole = read_labels(DATA / "totalseg-example/totalseg.nii.gz")
    bodies = read_labels(DATA / "totalseg-example/totalseg_vertebrae_body.nii.gz")
    parts = {f"L{n}": (whole.array == 32 - n) & (bodies.array == 1) for n in range(1, 6)}
    ct, spine = _case("totalseg-example/example_ct.nii.gz", "totalseg-example/example_bodies.mrk.json")
    yield _reference("totalseg-example", ct, spine, parts, whole.affine, "body")
    vert = read_labels(DATA / "tptbox-l3/sub-ct_seg-vert_label-22_msk.nii.gz")
    part = read_labels(DATA / "tptbox-l3/sub-ct_seg-subreg_label-22_msk.nii.gz")
    ct, spine = _case("tptbox-l3/sub-ct_label-22_ct.nii.gz", "tptbox-l3/sub-ct_bodies.mrk.json")
    mask = (vert.array == 22) & np.isin(part.array, (49, 50))
    yield _reference("tptbox-l3", ct, spine, {"L3": mask}, vert.affine, "body")
    twelfth = read_labels(DATA / "totalseg-aorta/vertebrae_T12.nii.gz")
    ct, spine = _case("totalseg-aorta/ct_cropped.nii.gz", "totalseg-aorta/ct_cropped_bodies.mrk.json")
    yield _reference("totalseg-aorta", ct, spine, {"T12": twelfth.array > 0}, twelfth.affine, "vertebra")
    for name, mask_name, points in RENDERED if rendered else ():
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from rendering.mask_ct import ct_from_mask

        labels = interpret(read_labels(DATA / mask_name))
        spine = build_spine(read_points(DATA / points))
        ct = ct_from_mask(labels.volume)
        blocks = {
            v.level: body_from_labels(labels, labels.by_level[v.level], v.center, spine.axes(v))[0]
            for v in spine.vertebrae
            if v.level in labels.by_level and v.gradable_level
        }
        yield Reference(name, ct, spine, blocks, float(labels.volume.spacing.max()))


REAL = (
    ("totalseg-example/example_ct.nii.gz", "totalseg-example/example_bodies.mrk.json"),
    ("lidc-0314/LIDC-IDRI-0314_spine_crop_ct.nii.gz", "lidc-0314/LIDC-IDRI-0314_bodies.mrk.json"),
    ("totalseg-aorta/ct_cropped.nii.gz", "totalseg-aorta/ct_cropped_bodies.mrk.json"),
    ("tptbox-l3/sub-ct_label-22_ct.nii.gz", "tptbox-l3/sub-ct_bodies.mrk.json"),
)
RENDERED = (
    ("verse004 rendered", "verse004/sub-verse004_seg-vert_msk.nii.gz", "verse004/sub-verse004_bodies.mrk.json"),
    ("healthivert-0007 rendered", "healthivert-0007/0007_msk.nii.gz", "healthivert-0007/0007_bodies.mrk.json"),
)
MASKS = {"totalseg-example": "totalseg-example/totalseg.nii.gz"}
"""Whole-vertebra masks of real CTs."""


def _case(ct: str, points: str) -> tuple[Volume, Spine]:
    return read_volume(DATA / ct), build_spine(read_points(DATA / points))


def _reference(
    name: str, ct: Volume, spine: Spine, masks: dict[str, NDArray[np.bool_]], affine: NDArray[np.float64], kind: str
) -> Reference:
    blocks = {}
    for level, mask in masks.items():
        labels = VertebraLabels(Volume(mask.astype(np.uint8), affine), {1: level}, kind)  # type: ignore[arg-type]
        vertebra = spine.by_level[level]
        blocks[level] = body_from_labels(labels, 1, vertebra.center, spine.axes(vertebra))[0]
    return Reference(name, ct, spine, blocks, float(Volume(mask, affine).spacing.max()))


def _table(
    search: str,
    reference: Reference,
    find: Find,
    shifts: tuple[tuple[float, ...], ...],
    edge_mm: float,
    overlays: Path | None,
) -> list[tuple[str, bool, float, float, float, NDArray[np.float64]]]:
    rows = []
    for level, given in reference.bodies.items():
        vertebra = reference.spine.by_level[level]
        axes = reference.spine.axes(vertebra)
        for shift in shifts:
            start = vertebra.center + axes @ np.array(shift)
            found = find(reference.ct, start, axes, *reference.spine.spacing_mm(vertebra))
            affine = given.grid.affine
            truth = sample(Volume(given.occupancy, affine), found.grid.points(), fill=0.0) >= 0.5
            inside = signed_distance(found.occupancy)
            dice = [_dice(truth, inside > -edge) for edge in (0.0, edge_mm)]
            distance = surface_distance(inside > 0, truth)
            try:
                error = measure(found).heights_mm - measure(given, reference.slice_mm).heights_mm
            except MaskError:
                error = np.full(3, np.nan)
            moved = "" if not any(shift) else " from " + "/".join(f"{mm:+.1f}" for mm in shift)
            print(
                f"{search:10s} {reference.name:26s} {level:4s}{moved:20s} Dice {dice[0]:.3f}, moved {dice[1]:.3f}; "
                f"surface {distance:.2f} mm; heights {' '.join(f'{e:+.1f}' for e in error)} mm; "
                f"confidence {found.confidence:.2f}, edge sd {found.edge_sd_mm:.2f}",
                flush=True,
            )
            rows.append((reference.name, any(shift), *dice, distance, error))
            if overlays is not None and not any(shift):
                _overlay(reference, level, found, truth, overlays / f"{search}_{reference.name}_{level}.png")
    return rows


def _summary(search: str, rows: list[tuple[str, bool, float, float, float, NDArray[np.float64]]], wall: float) -> None:
    for title, chosen in (
        ("real, as clicked", [r for r in rows if "rendered" not in r[0] and not r[1]]),
        ("real, centroids moved", [r for r in rows if "rendered" not in r[0] and r[1]]),
        ("rendered, as clicked", [r for r in rows if "rendered" in r[0] and not r[1]]),
    ):
        if not chosen:
            continue
        dice = np.array([r[2:4] for r in chosen])
        error = np.array([r[5] for r in chosen])
        bias = float(np.nanmean(error))
        print(
            f"{search}: {title}: {len(chosen)} bodies; "
            f"Dice mean {dice[:, 0].mean():.3f}, least {dice[:, 0].min():.3f}; "
            f"moved: mean {dice[:, 1].mean():.3f}, least {dice[:, 1].min():.3f}; "
            f"surface {np.mean([r[4] for r in chosen]):.2f} mm; heights: bias {bias:+.2f} mm, "
            f"largest error beside it {np.nanmax(np.abs(error - bias)):.2f} mm"
        )
    print(f"{search}: {wall / max(len(rows), 1):.2f} s a body, measuring included")


def signed_distance(occupancy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distance (mm) inside the surface where occupancy crosses one half, negative outside, by half samples."""
    if not (occupancy >= 0.5).any():
        return np.full(occupancy.shape, -20.0)
    box = tuple(slice(max(used.min() - 6, 0), used.max() + 7) for used in np.nonzero(occupancy >= 0.5))
    fine = zoom(occupancy[box], _FINER, order=1, grid_mode=True, mode="nearest") >= 0.5
    step = np.array(STEP_MM) / _FINER
    far = distance_transform_edt(fine, sampling=step) - distance_transform_edt(~fine, sampling=step)
    out = np.full(occupancy.shape, -20.0)
    out[box] = far.reshape([n for side in occupancy[box].shape for n in (side, _FINER)]).mean((1, 3, 5))
    return out


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def surface_distance(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Mean symmetric surface distance (mm)."""
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    if not all(edge.any() for edge in edges):
        return float("nan")
    far = [distance_transform_edt(~edge, sampling=STEP_MM) for edge in edges]
    return float(np.concatenate([far[1][edges[0]], far[0][edges[1]]]).mean())


def _overlay(reference: Reference, level: str, found: BodyMask, truth: NDArray[np.bool_], path: Path) -> None:
    """Mid-sagittal and mid-coronal plane: reference green, found red."""
    from VertebralGradingLib.image.png import outlined, tile, windowed, write_png

    hu = sample(reference.ct, found.grid.points())
    pictures = []
    for cut in (np.s_[:, :, hu.shape[2] // 2], np.s_[:, hu.shape[1] // 2, :]):
        grey = np.repeat(windowed(hu[cut]), 4, axis=1)
        shapes = [np.repeat(mask[cut], 4, axis=1) for mask in (truth, found.occupancy >= 0.5)]
        grey, shapes = np.repeat(grey, 2, axis=0), [np.repeat(shape, 2, axis=0) for shape in shapes]
        pictures.append(outlined(outlined(grey, shapes[0], (0, 230, 0)), shapes[1], (255, 60, 60)))
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0))) for p in pictures]
    write_png(tile([padded]), path)


def _grades(search: str) -> None:
    print(f"grades from points alone, bodies by {search}")
    cases: list[tuple[str, Volume, Spine, str]] = []
    for name, points in REAL:
        cases.append((name.split("/")[0], *_case(name, points), MASKS.get(name.split("/")[0], "")))
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.mask_ct import ct_from_mask

    for name, mask, points in RENDERED:
        cases.append((name, ct_from_mask(read_labels(DATA / mask)), build_spine(read_points(DATA / points)), mask))
    for name, ct, spine, mask in cases:
        try:
            report = grade(ct, spine, bodies_by=search)
        except MethodError as error:
            print(f"  {name}: {error.message}")
            continue
        said = ", ".join(
            f"{f.level} {f.grade if f.state.startswith('grade') else '(' + f.state + ')'}" for f in report.findings
        )
        print(f"  {name}: {said}; {report.provenance['times_s']['bodies_s']:.1f} s", flush=True)
        if mask:
            given = grade(ct, spine, interpret(read_labels(DATA / mask)))
            print(f"    losses against those of the mask: {_losses(report, given)}", flush=True)


def _losses(found: Report, given: Report) -> str:
    """Differences of anterior and middle loss between found and given bodies, each level both graded."""
    theirs = {f.level: f.height_loss for f in given.findings if f.height_loss}
    levels = [f.level for f in found.findings if f.height_loss and f.level in theirs]
    ours = {f.level: f.height_loss for f in found.findings}
    apart = np.array([[ours[level][part] - theirs[level][part] for part in ("anterior", "middle")] for level in levels])
    worst = levels[int(np.abs(apart).max(1).argmax())]
    return f"mean {np.abs(apart).mean():.3f}, largest {np.abs(apart).max():.3f} ({worst}) of {len(levels)} vertebrae"


def _centroids() -> None:
    print("body centroids from a whole-vertebra mask against VerSe's ctd (verse004)")
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
