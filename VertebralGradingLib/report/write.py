"""Write the report of one study: findings.json, findings.csv, report.html and overview.png."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import OutputError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.volume import AIR_HU, Volume
from VertebralGradingLib.report.csv_table import csv_text
from VertebralGradingLib.report.drawn import Drawn
from VertebralGradingLib.report.html import html_page
from VertebralGradingLib.report.overview import overview_png
from VertebralGradingLib.report.pictures import Overview, label_picture, sagittal_overview, to_gray
from VertebralGradingLib.report.privacy import without_private
from VertebralGradingLib.spine.spine import Spine

NAMES = {"json": "findings.json", "csv": "findings.csv", "html": "report.html", "png": "overview.png"}
"""File of each part of a report."""
_STEP_MM = 0.5


def write_report(
    report: Report,
    out_dir: Path | str,
    volume: Volume | None,
    spine: Spine | None,
    is_mask: bool = False,
    drawn: Sequence[Drawn] = (),
) -> dict[str, Path]:
    """Write all files of a report, each whole or not at all.

    Args:
        report: the findings. Paths, dates and identifiers in its texts are removed.
        out_dir: folder, made when missing; files of an earlier report in it are replaced.
        volume: CT (HU), or labels when ``is_mask``; without it there are no pictures.
        spine: without it there is no overview.
        is_mask: whether ``volume`` holds labels.
        drawn: what a learned method drew of vertebrae.

    Returns:
        Path of each file written by "json", "csv", "html", "png"; "png" only when there is an overview.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    report = without_private(report)
    overview = None if volume is None or spine is None else _overview(volume, spine, is_mask)
    content = {
        "json": (json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "csv": csv_text(report).encode(),
        "html": html_page(report, volume, spine, is_mask, overview, drawn).encode(),
    }
    if overview is not None:
        content["png"] = overview_png(*overview, report.findings)
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if "png" not in content:
            (folder / NAMES["png"]).unlink(missing_ok=True)  # a picture of an earlier study beside these findings
        for name, data in content.items():
            _replace(folder / NAMES[name], data)
    except OSError as error:
        raise OutputError("The report could not be written.", _hint(error)) from error
    return {name: folder / NAMES[name] for name in content}


def _overview(volume: Volume, spine: Spine, is_mask: bool) -> tuple[Overview, NDArray[np.uint8]]:
    overview = sagittal_overview(volume, spine, _STEP_MM, 0 if is_mask else AIR_HU, order=0 if is_mask else 1)
    return overview, label_picture(overview.image) if is_mask else to_gray(overview.image)


def _replace(path: Path, data: bytes) -> None:
    """Write a file beside its place, then put it there in one step."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "The disk is full: make room or choose another folder."
    return "Choose a folder that you may write to, and close the files of an earlier report."
