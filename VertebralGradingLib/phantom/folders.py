"""VerSe-style folders: writing phantoms, and reading phantoms and real VerSe data alike.

Layout (anjany/verse): ``rawdata/sub-X/sub-X_ct.nii.gz`` and ``derivatives/sub-X/`` with ``*_seg-vert_msk.nii.gz`` and
``*_seg-subreg_ctd.json``. Phantoms add ``*_seg-body_msk.nii.gz`` and ``*_truth.json``; ``grades.csv`` lies at the top.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.image.io import read_labels, read_volume, write_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.subjects import Subject
from VertebralGradingLib.phantom.truth import Truth
from VertebralGradingLib.phantom.volumes import SyntheticCT
from VertebralGradingLib.spine.anatomy import VERSE
from VertebralGradingLib.spine.points import Point, read_points

_POSITIONS = ("anterior", "middle", "posterior")
_LABEL = {level: label for label, level in VERSE.items()}


def write_subject(subject: Subject, images: SyntheticCT | None, folder: Path) -> None:
    """Write one subject's files; without images only its truth."""
    name = subject.plan.name
    raw, derived = folder / "rawdata" / name, folder / "derivatives" / name
    derived.mkdir(parents=True, exist_ok=True)
    if images is not None:
        raw.mkdir(parents=True, exist_ok=True)
        write_volume(images.ct, raw / f"{name}_ct.nii.gz")
        write_volume(images.vertebrae, derived / f"{name}_seg-vert_msk.nii.gz")
        write_volume(images.bodies, derived / f"{name}_seg-body_msk.nii.gz")
        centroids = [{"direction": ["L", "P", "S"]}]
        for level, middle in images.centroids.items():
            index = images.ct.to_index(middle)
            centroids.append({"label": _LABEL[level], **dict(zip("XYZ", index.round(3).tolist(), strict=True))})  # type: ignore[dict-item]
        (derived / f"{name}_seg-subreg_ctd.json").write_text(json.dumps(centroids), encoding="utf-8")
    content = {
        "subject": name,
        "seed": subject.spine.seed,
        "split": subject.plan.split,
        "reader_noise": subject.plan.reader_noise,
        "scanner": dict(vars(subject.scanner)),
        "vertebrae": {
            level: {
                "grade_read": subject.read[level],
                **_described(true),
                "mimics": subject.mimics.get(level, []),
            }
            for level, true in subject.truths.items()
        },
    }
    (derived / f"{name}_truth.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _described(true: Truth) -> dict[str, object]:
    def named(values: tuple[float, ...], digits: int) -> dict[str, float]:
        return {key: round(value, digits) for key, value in zip(_POSITIONS, values, strict=True)}

    return {
        "grade": true.grade,
        "graded_loss": round(true.graded, 4),
        "height_loss": named(true.loss, 4),
        "heights_before_mm": named(true.before_mm, 3),
        "heights_after_mm": named(true.after_mm, 3),
    }


def write_grades(rows: Sequence[tuple[str, str, int, str]], folder: Path) -> None:
    """Write ``grades.csv`` (subject, level, grade) and ``splits.csv`` (subject, split)."""
    with (folder / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "level", "grade"])
        writer.writerows(row[:3] for row in rows)
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "split"])
        writer.writerows(sorted({(row[0], row[3]) for row in rows}))


@dataclass(frozen=True)
class VerseCase:
    """One scan of a VerSe-style folder.

    Attributes:
        subject: name of the scan.
        ct, mask, body_mask, centroids, truth: paths, None where there is no such file.
        grades: level -> Genant grade, of those that were graded.
        split: part of the data set, "" when not known.
    """

    subject: str
    ct: Path | None
    mask: Path | None
    body_mask: Path | None
    centroids: Path | None
    truth: Path | None
    grades: dict[str, int] = field(default_factory=dict)
    split: str = ""

    @property
    def person(self) -> str:
        """Whose scan it is: one person may have several, such as "sub-verse500_dir-ax" and "sub-verse500_dir-sag"."""
        return self.subject.split("_")[0]

    def load_ct(self) -> Volume:
        """The CT.

        Raises:
            InputError: there is none.
        """
        if self.ct is None:
            raise InputError("This subject has no CT.", "Check the folder rawdata.")
        return read_volume(self.ct)

    def load_mask(self, body: bool = False) -> Volume:
        """The vertebra mask, or the body mask.

        Raises:
            InputError: there is none.
        """
        path = self.body_mask if body else self.mask
        if path is None:
            raise InputError("This subject has no such mask.", "Check the folder derivatives.")
        return read_labels(path)

    def load_points(self) -> list[Point]:
        """Body centroids, RAS mm.

        Raises:
            InputError: there is no centroid file.
        """
        if self.centroids is None:
            raise InputError("This subject has no centroids.", "Check the folder derivatives.")
        path = self.ct if self.ct is not None else self.mask
        return read_points(self.centroids, None if path is None else _any_volume(path, path == self.mask))


def _any_volume(path: Path, labels: bool) -> Volume:
    return read_labels(path) if labels else read_volume(path)


def read_folder(folder: str | Path, grades: str | Path | None = None) -> list[VerseCase]:
    """Find the scans of a VerSe-style folder, phantom or real.

    Args:
        folder: holds ``rawdata`` and ``derivatives`` (or the subjects' files anywhere below).
        grades: ``grades.csv`` (subject, level, grade) or a JSON list in the style of ``vertebra_data.json``
            ({split: {"sub-X_20": grade}}); ``grades.csv`` of the folder by default.

    Raises:
        InputError: no folder, no scans, or a grade list that cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("The data folder does not exist.", "Check the path.")
    found: dict[str, dict[str, Path]] = {}
    endings = {
        "ct": "_ct.nii.gz",
        "mask": "_seg-vert_msk.nii.gz",
        "body_mask": "_seg-body_msk.nii.gz",
        "centroids": "_ctd.json",
        "truth": "_truth.json",
    }
    for path in sorted(root.rglob("sub-*")):
        for kind, ending in endings.items():
            if path.is_file() and path.name.endswith(ending):
                key = path.name[: -len(ending)].removesuffix("_seg-subreg").removesuffix("_seg-vb")
                found.setdefault(key, {})[kind] = path
    if not found:
        raise InputError("The folder holds no VerSe-style files (sub-*_ct.nii.gz).", "Check the folder.")
    listed = Path(grades) if grades is not None else root / "grades.csv"
    table, splits = read_grades(listed) if listed.exists() else ({}, {})
    if (root / "splits.csv").exists():
        with (root / "splits.csv").open(encoding="utf-8") as file:
            splits |= {row["subject"]: row["split"] for row in csv.DictReader(file)}
    cases = []
    for key, paths in found.items():
        subject = key.split("_")[0]  # series of one subject share its grades
        files = {kind: paths.get(kind) for kind in endings}
        cases.append(VerseCase(key, **files, grades=table.get(subject, {}), split=splits.get(subject, "")))
    return cases


def read_grades(path: str | Path) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Grades (subject -> level -> grade) and splits (subject -> split) of a grade list.

    Raises:
        InputError: unknown fields, or a grade that is none.
    """
    grades: dict[str, dict[str, int]] = {}
    splits: dict[str, str] = {}
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if Path(path).suffix.lower() == ".json":
            for split, rows in json.loads(text).items():
                for key, grade in rows.items():
                    subject, label = key.rsplit("_", 1)
                    grades.setdefault(subject, {})[VERSE[int(label)]] = int(grade)
                    splits[subject] = split
        else:
            for row in csv.DictReader(text.splitlines()):
                grades.setdefault(row["subject"], {})[row["level"]] = int(row["grade"])
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise InputError("The grade list cannot be read.", "Columns: subject, level, grade; or a JSON list.") from error
    if not all(grade in (0, 1, 2, 3) for rows in grades.values() for grade in rows.values()):
        raise InputError("The grade list has grades other than 0 to 3.", "Leave ungraded vertebrae out.")
    return grades, splits


def count_grades(rows: Sequence[tuple[str, str, int, str]]) -> dict[str, np.ndarray]:
    """Split -> (4,) number of vertebrae of each grade."""
    out: dict[str, np.ndarray] = {}
    for _, _, grade, split in rows:
        out.setdefault(split, np.zeros(4, dtype=int))[grade] += 1
    return out
