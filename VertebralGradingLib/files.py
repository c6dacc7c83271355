"""From files to files: what a script, the command line and the Slicer module's logic call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from VertebralGradingLib.errors import CentroidError, InputError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image_io import read_labels, read_volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.points import read_points
from VertebralGradingLib.report import write_report
from VertebralGradingLib.segmentation import VertebraLabels
from VertebralGradingLib.segmentation.finders import DEFAULT
from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
from VertebralGradingLib.spine import Spine, build_spine
from VertebralGradingLib.study import Progress
from VertebralGradingLib.volume import Volume


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
    methods: Sequence[str] = ("morphometry",),
    numbering: str = "auto",
    series: str | None = None,
    progress: Progress | None = None,
    bodies_by: str = DEFAULT,
) -> Report:
    """Read, grade, and with ``out_dir`` write ``findings.json``, ``findings.csv``, ``report.html``, ``overview.png``.

    Bodies that no mask shows are found as ``bodies_by`` says (:func:`finders.choose_finder`).

    Raises:
        VertebralGradingError: one of its children, with a hint.
    """
    started = time.perf_counter()
    ct, spine, mask = read_study(ct_path, centroids_path, mask_path, lowest, numbering, series)
    reading = time.perf_counter() - started
    report = grade(ct, spine, mask, methods, progress, bodies_by=bodies_by)
    report.provenance["times_s"]["reading_s"] = round(reading, 3)
    if out_dir is not None:
        volume = ct if ct is not None else mask.volume if mask is not None else None
        write_report(report, out_dir, volume, spine, is_mask=ct is None)
    return report
