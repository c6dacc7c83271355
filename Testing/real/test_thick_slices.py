"""Unfractured bodies on slices too thick for their discs must not come out as fractures."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rendering.thick import thicker

from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import build_spine

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="no data folder: set VERTEBRAL_GRADING_DATA"),
]


_read = cache(read_volume)
"""The same scan is read once for all parameters; nobody writes into it."""


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_unfractured_thoracic_bodies_are_graded_below_2_or_not_at_all(factor: int) -> None:
    case = DATA / "lidc-0314"
    ct = _read(case / "LIDC-IDRI-0314_spine_crop_ct.nii.gz")
    report = grade(
        thicker(ct, factor * float(ct.spacing[2])),
        build_spine(read_points(case / "LIDC-IDRI-0314_bodies.mrk.json")),
    )
    assert all(finding.grade is None or finding.grade < 2 for finding in report.findings)
    graded = [finding.level for finding in report.findings if finding.gradable]
    assert len(graded) >= {2: 9, 3: 1, 5: 0}[factor], graded  # by the classical search, which is unsure at 3 mm
    refused = [finding for finding in report.findings if finding.state == "not assessed"]
    assert all(finding.reason.startswith(("too uncertain", "cut by", "heights do not fit")) for finding in refused)
    if factor == 5:
        flagged = [finding for finding in report.findings if "thick_slices" in finding.flags]
        assert len(flagged) == len(report.findings)


@pytest.mark.parametrize("shift_mm", [3.0, 6.0, 9.0])
def test_a_body_cut_by_padding_is_not_graded(shift_mm: float) -> None:
    case = DATA / "totalseg-example"
    ct = _read(case / "example_ct.nii.gz")
    spine = build_spine(read_points(case / "example_bodies.mrk.json"))
    padded = np.array(ct.array)
    top = int(np.rint(ct.to_index(spine.by_level["L1"].center + np.array([0.0, 0.0, shift_mm]))[2]))
    padded[:, :, top:] = -1024
    report = grade(Volume(padded, ct.affine), spine)
    first = report.findings[0]
    assert first.grade is None
    assert (first.state, first.reason) == ("not assessed", "cut by the edge of the volume")
    assert "cut_by_volume_edge" in first.flags
    assert (first.heights_mm, first.height_loss, first.points_ras_mm) == ({}, {}, ())
    assert first.evidence_of("morphometry") is None
    assert all(finding.grade == 0 for finding in report.findings[1:])
