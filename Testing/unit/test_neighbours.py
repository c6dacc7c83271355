"""Pseudo-healthy heights from neighbours, on spines whose heights are known."""

from __future__ import annotations

import numpy as np
import pytest
from rendering.analytic import analytic_spine, box_spine_ct, grid_around

from VertebralGradingLib.errors import CentroidError, MaskError, MethodError
from VertebralGradingLib.healthivert.neighbours import from_neighbours
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.methods.table import load
from VertebralGradingLib.morphometry.norms import expected_log_heights
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study, prepare

LEVELS = ("T11", "T12", "L1", "L2", "L3")
POSITIONS = np.arange(11.0, 16.0)
USUAL = np.exp(expected_log_heights(POSITIONS)).mean(1)


def study(front: float, back: float = 1.0, left: float = 1.0) -> Study:
    """Boxes of their level's usual height; L1 has the given shares of it in front and behind."""
    heights = np.repeat(USUAL[:, None], 3, axis=1)
    heights[2] *= [front, (front + back) / 2, back]
    spine = analytic_spine(LEVELS, heights, sagittal_deg=[4, 2, 0, -2, -4], origin=(12, -30, 200))
    case = box_spine_ct(spine, *grid_around(spine, (0.8, 0.8, 0.8)))
    return judged(prepare(None, build_spine(case.points), interpret(case.labels, "verse")))


@pytest.fixture(scope="module")
def wedged() -> Study:
    return study(0.6)


def test_sound_vertebra_lost_nothing() -> None:
    found = from_neighbours(study(1.0), "L1")
    assert found.sources == ("T12", "L2")
    assert np.nanquantile(np.abs(found.loss), 0.95) < 0.05  # the last 5 % lie where the arch was cut off
    assert abs(found.relative_height_loss().whole) < 0.8 / 22  # a voxel of the mask


def test_wedge_is_seen_where_it_is(wedged: Study) -> None:
    found = from_neighbours(wedged, "L1")
    loss = found.relative_height_loss()
    assert loss.thirds["anterior"] == pytest.approx(0.4 * 5 / 6, abs=0.03)
    assert loss.thirds["middle"] == pytest.approx(0.2, abs=0.02)
    assert loss.thirds["posterior"] == pytest.approx(0.4 / 6, abs=0.03)
    sides = found.relative_height_loss("coronal").thirds
    assert set(sides) == {"right", "central", "left"}
    assert max(sides.values()) - min(sides.values()) < 0.02
    some = np.isfinite(found.loss).sum(1) > 10
    assert (np.diff(np.nanmedian(found.loss[some], axis=1)) < 0.01).all()  # less and less towards the back


def test_bodies_found_on_ct_are_examples_too() -> None:
    spine = analytic_spine(LEVELS[1:4], np.repeat(USUAL[1:4, None], 3, axis=1) * [[1, 1, 1], [0.6, 0.8, 1], [1, 1, 1]])
    case = box_spine_ct(spine, *grid_around(spine, margin_mm=20))
    report = grade(case.ct, build_spine(case.points), methods=("neighbours",), bodies_by="classical")
    found = {finding.level: finding for finding in report.findings}
    assert all(finding.evidence[0].method == "morphometry" for finding in report.findings)
    assert found["L1"].evidence_of("neighbours") is not None
    assert found["L1"].grade is not None and found["L1"].grade >= 2
    assert found["T12"].grade == 0
    assert len(found["L1"].heights_mm) == 3 and found["L1"].height_loss  # heights always come from morphometry


def test_fractured_neighbours_are_passed_over(wedged: Study) -> None:
    found = from_neighbours(wedged, "T12", broken={"L1"})
    assert found.sources == ("T11", "L2")
    assert abs(found.relative_height_loss().whole) < 0.02
    assert from_neighbours(wedged, "T12").relative_height_loss().thirds["anterior"] < -0.1
    assert from_neighbours(wedged, "T11", broken={"T12", "L1", "L2"}).sources == ("L3",)


def test_method_grades_and_explains(wedged: Study) -> None:
    method = load("neighbours")
    said = method.grade(wedged)
    assert set(said) == set(LEVELS)
    assert said["L1"].score == pytest.approx(2.5, abs=0.4)  # 40 % are where grade 3 begins
    assert {level for level, one in said.items() if one.grade} == {"L1"}
    for one in said.values():
        low, high = one.grade_interval
        assert 0 <= low <= one.score <= high <= 3
        assert one.quantities["reference"] == "neighbours"
    assert said["L1"].quantities["reference_levels"] == ["T12", "L2"]
    seen = method.explain(wedged, "L1", "height_loss_map")
    assert seen["loss"].shape == seen["own_mm"].shape == seen["expected_mm"].shape
    assert np.nanmax(seen["loss"]) > 0.3
    assert seen["thirds"]["anterior"] == pytest.approx(0.33, abs=0.03)
    with pytest.raises(MethodError):
        method.explain(wedged, "L1", "heights")
    with pytest.raises(CentroidError):
        method.explain(wedged, "T4")


def test_what_cannot_be_had_is_told(wedged: Study) -> None:
    with pytest.raises(CentroidError, match="T5"):
        from_neighbours(wedged, "T5")
    with pytest.raises(MaskError, match="no sound"):
        from_neighbours(wedged, "L1", broken=LEVELS)
