"""Real VerSe files, read by the reader that phantoms are read by."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.phantom.folders import read_folder

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "verse004").is_dir(), reason="the shared data folder is not here"),
]


def test_verse_subject_is_read(tmp_path: Path) -> None:
    grades = tmp_path / "grades.csv"
    grades.write_text("subject,level,grade\nsub-verse004,L1,3\nsub-verse004,T9,2\n")
    (case,) = read_folder(DATA / "verse004", grades)
    assert case.subject == "sub-verse004"
    assert case.grades == {"L1": 3, "T9": 2}
    mask, points = case.load_mask(), case.load_points()
    assert {point.level for point in points} == {"T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"}
    labels = {"T9": 16, "L1": 20, "L5": 24}
    for point in points:
        if point.level in labels:
            place = tuple(np.rint(mask.to_index(np.array(point.position))).astype(int))
            assert mask.array[place] == labels[point.level]
    with pytest.raises(InputError, match="no CT"):
        case.load_ct()
