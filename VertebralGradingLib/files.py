"""From files to files: what a script, the command line and the Slicer module's logic call."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from VertebralGradingLib.errors import CentroidError, InputError, MethodError, OutputError, VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.io import read_labels, read_volume, write_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.methods.table import load
from VertebralGradingLib.pipeline import explain, grade
from VertebralGradingLib.report import write_report
from VertebralGradingLib.report.drawn import Drawn, told
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine
from VertebralGradingLib.study import Progress, Study


def read_study(
    ct_path: str | Path | None,
    centroids_path: str | Path | None,
    mask_path: str | Path | None,
    lowest: str | None = None,
    numbering: str = "auto",
    series: str | None = None,
) -> tuple[Volume | None, Spine, VertebraLabels | None]:
    """Read what a user has: CT and centroids, CT and mask, mask alone.

    Raises:
        InputError, CentroidError, MaskError: with a hint.
    """
    if ct_path is None and mask_path is None:
        raise InputError("There is neither a CT nor a mask.", "Give a CT, a mask, or both.")
    ct = None if ct_path is None else read_volume(ct_path, series)
    mask = None if mask_path is None else interpret(read_labels(mask_path), numbering)
    if centroids_path is not None:
        points = read_points(centroids_path, mask.volume if mask is not None else ct)
    elif mask is not None:
        points = centroids_from_labels(mask)
    else:
        raise CentroidError("A CT alone has no centroids.", "Give --centroids, or --mask to take them from.")
    return ct, build_spine(points, lowest), mask


def grade_files(
    ct_path: str | Path | None,
    centroids_path: str | Path | None,
    mask_path: str | Path | None = None,
    out_dir: str | Path | None = None,
    lowest: str | None = None,
    methods: Sequence[str] = (),
    numbering: str = "auto",
    series: str | None = None,
    progress: Progress | None = None,
    bodies_by: str | None = None,
) -> Report:
    """Read, grade, and with ``out_dir`` write ``findings.json``, ``findings.csv``, ``report.html``, ``overview.png``.

    Bodies that no mask shows are found as ``bodies_by`` says (:func:`finders.choose_finder`).

    Raises:
        VertebralGradingError: one of its children, with a hint.
    """
    started = time.perf_counter()
    ct, spine, mask = read_study(ct_path, centroids_path, mask_path, lowest, numbering, series)
    reading = time.perf_counter() - started
    studies: list[Study] = []
    report = grade(ct, spine, mask, methods, progress, on_study=studies.append, bodies_by=bodies_by)
    report.provenance["times_s"]["reading_s"] = round(reading, 3)
    if out_dir is not None:
        volume = ct if ct is not None else mask.volume if mask is not None else None
        write_report(report, out_dir, volume, spine, is_mask=ct is None, drawn=_drawn(studies[0], report, methods))
    return report


def _drawn(study: Study, report: Report, methods: Sequence[str]) -> list[Drawn]:
    """Every vertebra that some method calls fractured: where it lost height, and at grade 0, by methods asked for.

    Where a map is asked for, the warp's stands first, and one other beside it: by the network, else by neighbours.
    """
    out: list[Drawn] = []
    for finding in report.findings:
        if not any((item.grade or 0) >= 1 for item in finding.evidence):
            continue
        said = {item.method for item in finding.evidence} & set(methods)
        if study.ct is not None and said & {"healthivert", "neighbours"}:
            answer = _explained(study, report, finding.level, "morphometry", "height_loss_map")
            if answer is not None:
                out.append(Drawn.of_height_loss(finding.level, answer))
        for method in ("healthivert", "neighbours"):
            answer = _explained(study, report, finding.level, method, "height_loss_map") if method in said else None
            if answer is not None:
                out.append(Drawn.of_height_loss(finding.level, answer))
                break
        if "dae" in said:
            wish = {"grades": [0.0], "preset": "fine"}
            answer = _explained(study, report, finding.level, "dae", "counterfactual", **wish)
            if answer is not None:
                out.append(Drawn.of_pictures(finding.level, *told(answer)))
    return out


def _explained(
    study: Study, report: Report, level: str, method: str, kind: str, **options: Any
) -> dict[str, Any] | None:
    """An explanation, or None where it failed; then the report says so."""
    try:
        return explain(study.ct, study.spine, level=level, kind=kind, method=method, study=study, **options)
    except VertebralGradingError as error:
        report.provenance.setdefault("not_drawn", {})[f"{level} ({method})"] = error.message
        return None


def height_loss_files(
    ct_path: str | Path | None,
    centroids_path: str | Path | None,
    level: str,
    out_dir: str | Path,
    mask_path: str | Path | None = None,
    by: Sequence[str] | None = None,
    lowest: str | None = None,
    numbering: str = "auto",
    bodies_by: str | None = None,
) -> dict[str, Any]:
    """Where one vertebra lost height, as files.

    Writes ``height_loss.json`` (losses by method) and for each method ``height_loss-METHOD.csv`` (one row for each
    column of the body), ``height_loss-METHOD.png`` (map, curve, pictures), and in patient space
    ``pseudo_healthy-METHOD.nii.gz`` (HU): of the warp on the CT's own voxels where it convinces, of the network with
    ``original-METHOD.nii.gz`` and ``pseudo_healthy_body-METHOD.nii.gz``.

    Args:
        ct_path: as in :func:`grade_files`; not needed for the shape of neighbours.
        centroids_path: as in :func:`grade_files`.
        level: which vertebra.
        out_dir: folder, made when missing.
        mask_path: as in :func:`grade_files`.
        by: "warp", "healthivert", "neighbours"; where missing the warp, and the network where its weights are there.
        lowest: level of the lowest centroid, where they have no names.
        numbering: of the mask.
        bodies_by: as in :func:`grade_files`.

    Returns:
        what stands in ``height_loss.json``: ``level``, ``maps`` by method, and why one ``not_run``.

    Raises:
        VertebralGradingError: one of its children, with a hint.
    """
    ct, spine, mask = read_study(ct_path, centroids_path, mask_path, lowest, numbering)
    chosen, not_run = _maps_by(ct, by)
    studies: list[Study] = []
    grade(ct, spine, mask, on_study=studies.append, bodies_by=bodies_by)
    kind = "height_loss_map"
    maps = {
        name: explain(ct, spine, mask, level=level, kind=kind, method=_MAP_METHODS[name], study=studies[0])
        for name in chosen
    }
    numbers = {
        name: _known({key: value for key, value in seen.items() if not isinstance(value, np.ndarray)})
        for name, seen in maps.items()
    }
    told = {"level": level, "maps": numbers, "not_run": not_run}
    out = Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "height_loss.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        for name, seen in maps.items():
            (out / f"height_loss-{name}.png").write_bytes(Drawn.of_height_loss(level, seen).png)
            _write_columns(seen, out / f"height_loss-{name}.csv")
            for part, volume in _map_volumes(seen).items():
                write_volume(volume, out / f"{part}-{name}.nii.gz")
    except (OSError, RuntimeError) as error:  # SimpleITK raises the latter
        raise OutputError("The results cannot be written.", "Check free space and permissions.") from error
    return told


_MAP_METHODS = {"warp": "morphometry", "healthivert": "healthivert", "neighbours": "neighbours"}
"""Method that tells each map of lost height."""


def _maps_by(ct: Volume | None, by: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Which maps are drawn, and why one is not that would be by default.

    Raises:
        MethodError: an unknown one, or one that was asked for cannot run.
    """
    unknown = sorted(set(by or ()) - set(_MAP_METHODS))
    if unknown:
        raise MethodError(f"There is no map by {unknown[0]!r}.", f"Choose one of: {', '.join(_MAP_METHODS)}.")
    for name in by or ():
        load(_MAP_METHODS[name]).check(ct)
    if by:
        return list(dict.fromkeys(by)), {}
    try:
        load("healthivert").check(ct)
    except MethodError as error:
        return ["warp"], {"healthivert": str(error)}
    return ["warp", "healthivert"], {}


def _map_volumes(seen: dict[str, Any]) -> dict[str, Volume]:
    """The volumes of a map by name; none of a warp that does not convince."""
    if "warped" in seen:
        return {} if seen["reasons"] else {"pseudo_healthy": Volume(seen["warped"], seen["warped_affine"])}
    names = [name for name in ("original", "pseudo_healthy", "pseudo_healthy_body") if name in seen]
    arrays = {name: seen[name].astype(np.uint8) if seen[name].dtype == bool else seen[name] for name in names}
    return {name: Volume(array, seen["affine"]) for name, array in arrays.items()}


def warp_files(
    ct_path: str | Path,
    centroids_path: str | Path | None,
    level: str,
    grades: Sequence[float],
    out_dir: str | Path,
    shape: str = "own",
    mask_path: str | Path | None = None,
    lowest: str | None = None,
    numbering: str = "auto",
    bodies_by: str | None = None,
) -> dict[str, Any]:
    """What one vertebra would look like at other grades, by the warp without learning, as files.

    Writes ``counterfactual.json`` (heights, movements, checks), ``counterfactual.npz`` (pictures, HU at 1 mm),
    ``counterfactual.png`` (a strip), and for each grade the warped CT around the vertebra in patient space,
    ``grade-0.nii.gz`` and so on (HU).

    Args:
        ct_path: as in :func:`grade_files`.
        centroids_path: as in :func:`grade_files`.
        level: which vertebra.
        grades: 0..3, parts allowed.
        out_dir: folder, made when missing.
        shape: "own", "wedge", "biconcave" or "crush".
        mask_path: as in :func:`grade_files`.
        lowest: level of the lowest centroid, where they have no names.
        numbering: of the mask.
        bodies_by: as in :func:`grade_files`.

    Returns:
        what stands in ``counterfactual.json``.

    Raises:
        VertebralGradingError: one of its children, with a hint.
    """
    from VertebralGradingLib.report.warp_strip import warp_png

    ct, spine, mask = read_study(ct_path, centroids_path, mask_path, lowest, numbering)
    wish: dict[str, Any] = {"grades": list(grades), "shape": shape, "volumes": True, "read": True}
    seen = explain(ct, spine, mask, level=level, kind="counterfactual", bodies_by=bodies_by, **wish)
    arrays = {name: value for name, value in seen.items() if isinstance(value, np.ndarray)}
    volumes = [arrays.pop(f"volume_{n}") for n in range(len(grades))]
    affine = arrays.pop("affine")
    numbers = {"level": level, "by": "warp", **{k: v for k, v in seen.items() if not isinstance(v, np.ndarray)}}
    out = Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(out / "counterfactual.npz", **arrays)  # type: ignore[arg-type]
        (out / "counterfactual.png").write_bytes(warp_png(seen, level))
        (out / "counterfactual.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
        for grade_wanted, volume in zip(grades, volumes, strict=True):
            write_volume(Volume(volume, affine), out / f"grade-{grade_wanted:g}.nii.gz")
    except (OSError, RuntimeError) as error:  # SimpleITK raises the latter
        raise OutputError("The results cannot be written.", "Check free space and permissions.") from error
    return numbers


def _write_columns(seen: dict[str, Any], path: Path) -> None:
    """Every column of the body: mm behind the first and to the left of the rightmost one compared, heights, loss."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["behind_mm", "left_mm", "height_mm", "expected_mm", "loss", "uncertain"])
        for row, column in np.argwhere(np.isfinite(seen["own_mm"]) & np.isfinite(seen["expected_mm"])):
            values = (seen[name][row, column] for name in ("own_mm", "expected_mm", "loss"))
            uncertain = "true" if seen["uncertain"][row, column] else "false"
            writer.writerow([int(row), int(column), *(f"{value:.3f}" for value in values), uncertain])


def _known(value: Any) -> Any:
    """What is not known becomes null, which JSON has."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, np.generic):
        return _known(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def counterfactual_files(
    ct_path: str | Path,
    centroids_path: str | Path,
    level: str,
    grades: Sequence[float],
    out_dir: str | Path,
    preset: str = "fine",
    lowest: str | None = None,
    binary: bool = False,
) -> dict[str, Any]:
    """What one vertebra would look like at other grades, by the diffusion autoencoder, as files.

    Writes ``counterfactual.json`` (scores and warnings), ``counterfactual.npz`` (images, HU at 1 mm),
    ``counterfactual.png`` (a strip) and ``animation.png``.

    Args:
        ct_path: as in :func:`grade_files`.
        centroids_path: as in :func:`grade_files`.
        level: which vertebra.
        grades: 0..3, parts allowed.
        out_dir: folder, made when missing.
        preset: how finely images are drawn: "paper", "fine" or "live".
        lowest: level of the lowest centroid, where they have no names.
        binary: instead of grades, as far on the other side between healthy and fractured.

    Returns:
        what stands in ``counterfactual.json``.

    Raises:
        VertebralGradingError: one of its children, with a hint.
    """
    from VertebralGradingLib.image.png import write_animation, write_png
    from VertebralGradingLib.report.strip import frames, strip

    ct, spine, _ = read_study(ct_path, centroids_path, None, lowest)
    wish: dict[str, Any] = {"grades": list(grades), "preset": preset, "binary": binary}
    seen = explain(ct, spine, level=level, kind="counterfactual", method="dae", **wish)
    images = {name: value for name, value in seen.items() if isinstance(value, np.ndarray)}
    numbers = {"level": level, "preset": preset, **{k: v for k, v in seen.items() if k not in images}}
    out = Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(out / "counterfactual.npz", **images)  # type: ignore[arg-type]
        write_png(strip(seen, level), out / "counterfactual.png")
        write_animation(frames(seen), out / "animation.png")
        (out / "counterfactual.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError("The results cannot be written.", "Check free space and permissions.") from error
    return numbers
