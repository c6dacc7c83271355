"""Writing a data set of phantoms: what ``vertebral-grading phantom`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralGradingLib.errors import InputError, OutputError
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.folders import count_grades, write_grades, write_subject
from VertebralGradingLib.phantom.plans import GRADING_LOSS_1283, PRESETS, plan, verse19_counts
from VertebralGradingLib.phantom.subjects import make_subject
from VertebralGradingLib.phantom.volumes import render_ct

Row = tuple[str, str, int, str]


def write_dataset(
    out: str | Path,
    n: int = 0,
    seed: int = 0,
    preset: str = "uniform",
    reader_noise: bool | None = None,
    images: bool = True,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Row]:
    """Write VerSe-style folders of phantoms.

    Args:
        out: folder to write to; made when missing.
        n: number of subjects; 0 for all of a published preset.
        seed: fixes the data set.
        preset: one of :data:`plans.PRESETS`.
        reader_noise: whether grades are read with a reader's error; None for the preset's own habit.
        images: False writes truth and grades only (seconds instead of minutes).
        device: where to compute the images.
        progress: called with (done, total, subject).

    Returns:
        (subject, level, grade as read, split) of every vertebra.

    Raises:
        InputError: an unknown preset, or a number of subjects is missing.
        OutputError: a file cannot be written.
    """
    try:
        subjects = plan(preset, n, seed, reader_noise)
    except ValueError as error:
        raise InputError(
            f"The data set cannot be planned: {error}.", f"Presets: {', '.join(PRESETS)}; --n N."
        ) from error
    folder = Path(out)
    rows: list[Row] = []
    for number, wanted in enumerate(subjects):
        if progress is not None:
            progress(number, len(subjects), wanted.name)
        subject = make_subject(wanted, seed_of(seed, number))
        rendered = None
        if images:
            scanner = replace(subject.scanner, pixel_mm=max(subject.scanner.pixel_mm, 0.7))
            rendered = render_ct(subject.spine, scanner, list(wanted.grades), device=device)
        rows += [(wanted.name, level, grade, wanted.split) for level, grade in subject.read.items()]
        try:
            write_subject(subject, rendered, folder)
            write_grades(rows, folder)
        except (OSError, RuntimeError) as error:  # SimpleITK raises the latter
            raise OutputError("The data set cannot be written.", "Check free space and permissions.") from error
    return rows


def published_counts(preset: str) -> dict[str, tuple[int, ...]]:
    """Split -> vertebrae of grade 0-3 as published; empty for presets without a model."""
    if preset == "grading-loss-1283":
        return dict(GRADING_LOSS_1283)
    if preset == "verse19-1460":
        splits = ("train", "val", "test")
        return {split: tuple(np.sum(list(verse19_counts(split).values()), axis=0).tolist()) for split in splits}
    return {}


def describe_counts(rows: list[Row], preset: str) -> list[str]:
    """One line for each split: vertebrae by grade, beside the published ones."""
    published = published_counts(preset)
    lines = []
    for split, counts in count_grades(rows).items():
        text = " ".join(f"G{grade} {count}" for grade, count in enumerate(counts))
        beside = " ".join(f"G{grade} {count}" for grade, count in enumerate(published.get(split, ())))
        lines.append(f"{split}: {text} (sum {counts.sum()})" + (f"; published: {beside}" if beside else ""))
    return lines
