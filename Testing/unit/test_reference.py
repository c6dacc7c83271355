"""The score axis, the norms, and a patient's own curve of heights as the reference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.genant import GRADE_BOUNDS, deformity, grade_of_loss, grade_of_score, score_of_loss
from VertebralGradingLib.morphometry.norms import expected_log_heights
from VertebralGradingLib.morphometry.patient_curve import fit_curve
from VertebralGradingLib.morphometry.reference import HeightGrade, grade_heights, graded_loss
from VertebralGradingLib.spine.anatomy import axis_position

LEVELS = [*(f"T{n}" for n in range(4, 13)), "L1", "L2", "L3", "L4"]
ALL = [*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))]


def patient(
    levels: list[str] | None = None, size: float = 1.0, seed: int = 0, noise: float = 0.02, **changed: object
) -> NDArray[np.float64]:
    """(n, 3) heights of an unfractured patient of some size; ``L1=(a, m, p)`` multiplies the heights of a level."""
    levels = LEVELS if levels is None else levels
    rng = np.random.default_rng(seed)
    heights = size * np.exp(expected_log_heights(np.array([axis_position(level) for level in levels])))
    heights = heights * np.exp(rng.normal(0.0, noise, (len(levels), 1)) + rng.normal(0.0, noise / 2, heights.shape))
    for level, share in changed.items():
        heights[levels.index(level)] *= share  # type: ignore[operator]
    return heights


def graded(
    heights: NDArray[np.float64], levels: list[str] | None = None, known: bool = True, sd_mm: float = 0.4
) -> dict[str, HeightGrade]:
    levels = LEVELS if levels is None else levels
    place = np.array([axis_position(level) for level in levels]) if known else np.arange(len(levels), dtype=float)
    results = grade_heights(place, heights, np.full(heights.shape, sd_mm), known)
    return dict(zip(levels, results, strict=True))


def grades(results: dict[str, HeightGrade]) -> dict[str, int]:
    """Levels with a grade above 0."""
    return {level: result.grade for level, result in results.items() if result.grade}


# ---- the axis -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "score"), [(0.0, 0.0), (0.20, 0.5), (0.25, 1.5), (0.40, 2.5), (0.50, 3.0), (0.9, 3.0), (-0.3, 0.0)]
)
def test_knots_of_the_score_axis(loss: float, score: float) -> None:
    assert score_of_loss(loss) == pytest.approx(score)


@pytest.mark.parametrize(
    ("loss", "grade"),
    [(-0.2, 0), (0.0, 0), (0.1999, 0), (0.20, 1), (0.2499, 1), (0.25, 2), (0.3999, 2), (0.40, 3), (1.0, 3)],
)
def test_bands_are_half_open(loss: float, grade: int) -> None:
    assert grade_of_loss(loss) == grade
    assert grade_of_score(score_of_loss(loss)) == grade


def test_rounding_the_score_gives_the_grade_everywhere() -> None:
    losses = np.concatenate([np.linspace(-0.1, 0.8, 4001), GRADE_BOUNDS])
    assert [grade_of_score(score_of_loss(loss)) for loss in losses] == [grade_of_loss(loss) for loss in losses]
    scores = score_of_loss(np.sort(losses))
    assert (np.diff(scores) >= 0).all()


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        ((0.0, 0.0, 0.0), "none"),
        ((0.19, 0.19, 0.1), "none"),
        ((0.3, 0.1, 0.0), "wedge"),
        ((0.3, 0.3, 0.0), "wedge"),
        ((0.05, 0.3, 0.0), "biconcave"),
        ((0.35, 0.3, 0.3), "crush"),
        ((0.5, 0.4, 0.22), "wedge"),
        ((0.0, 0.05, 0.3), "none"),
    ],
)
def test_shape_of_a_deformity(losses: tuple[float, float, float], shape: str) -> None:
    assert deformity(np.array(losses)) == shape


def test_posterior_height_alone_is_not_graded() -> None:
    log_reference = np.log([25.0, 22.0, 26.0])
    assert graded_loss(np.array([0.0, 0.0, 0.35]), log_reference) < 0.2
    assert graded_loss(np.array([0.35, 0.35, 0.35]), log_reference) == pytest.approx(0.35)
    assert graded_loss(np.array([0.3, 0.1, 0.0]), log_reference) == pytest.approx(0.3)
    assert graded_loss(np.array([0.1, 0.3, 0.0]), log_reference) == pytest.approx(0.3)


# ---- the norms ----------------------------------------------------------------------------------------------------


def test_expected_heights_are_those_of_a_spine() -> None:
    heights = np.exp(expected_log_heights(np.array([axis_position(level) for level in ALL])))
    posterior = heights[:, 2]
    assert 14 < posterior[0] < 20
    assert 22 < posterior[ALL.index("L1")] < 32
    assert (np.diff(posterior[:13]) > 0).all()  # grows down to L1
    ratio = heights[:, 0] / posterior
    assert 0.85 < ratio[ALL.index("T12")] < 0.98  # physiological wedge of the thoracolumbar junction
    assert ratio[-1] > 1.05  # L5 is lower behind
    assert (heights[:, 1] < heights[:, [0, 2]].max(axis=1)).all()


def test_unnamed_levels_have_a_neutral_expectation() -> None:
    heights = np.exp(expected_log_heights(np.arange(8.0), known=False))
    assert (np.diff(heights, axis=0) > 0).all()
    assert np.ptp(heights[:, 0] / heights[:, 2]) < 1e-9


# ---- a patient's own curve ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.75, 0.9, 1.0, 1.15, 1.3])
@pytest.mark.parametrize("seed", range(4))
def test_unfractured_patient_of_any_size_gets_no_grade(size: float, seed: int) -> None:
    results = graded(patient(ALL, size, seed), ALL)
    assert grades(results) == {}
    assert not any(result.weak for result in results.values())
    assert max(abs(result.loss).max() for result in results.values()) < 0.12


@pytest.mark.parametrize("known", [True, False])
def test_patient_with_unusual_proportions_gets_no_grade(known: bool) -> None:
    """More concave endplates, wedged bodies and a steeper growth than usual, all along the spine."""
    heights = patient() * [0.93, 0.90, 1.0] * np.linspace(0.93, 1.07, len(LEVELS))[:, None]
    assert grades(graded(heights, known=known)) == {}


@pytest.mark.parametrize(("share", "grade"), [(0.90, 0), (0.775, 1), (0.67, 2), (0.52, 3)])
@pytest.mark.parametrize("size", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("known", [True, False])
def test_wedge_of_l1_gets_its_grade(share: float, grade: int, size: float, known: bool) -> None:
    heights = patient(size=size, noise=0.0, L1=(share, 1.0 - 0.6 * (1.0 - share), 1.0))
    results = graded(heights, known=known)
    assert grades(results) == ({"L1": grade} if grade else {})
    if grade:
        assert results["L1"].shape == "wedge"
        assert results["L1"].loss[0] == pytest.approx(1.0 - share, abs=0.02 if known else 0.03)


@pytest.mark.parametrize(("share", "grade"), [(0.67, 2), (0.52, 3)])
def test_biconcave_body_gets_its_grade(share: float, grade: int) -> None:
    results = graded(patient(L2=(0.97, share, 1.0)))
    assert grades(results) == {"L2": grade}
    assert results["L2"].shape == "biconcave"


@pytest.mark.parametrize(("share", "least"), [(0.68, 2), (0.5, 3)])
def test_crush_that_leaves_no_wall_is_seen_against_the_neighbors(share: float, least: int) -> None:
    results = graded(patient(T12=(share, share, share)))
    assert list(grades(results)) == ["T12"]
    assert results["T12"].grade >= least
    assert results["T12"].shape == "crush"
    assert results["T12"].crush_loss == pytest.approx(1.0 - share, abs=0.05)


def test_spine_with_most_lumbar_bodies_fractured_is_still_graded() -> None:
    """The reference must come from the few that are whole (as healthivert-0007)."""
    heights = patient(L1=(0.55, 0.45, 0.8), L2=(0.7, 0.6, 0.95), L3=(0.85, 0.65, 0.97), L4=(0.8, 0.68, 1.0))
    results = graded(heights)
    found = grades(results)
    assert set(found) == {"L1", "L2", "L3", "L4"}
    assert found["L1"] == 3
    assert min(found.values()) >= 2


def test_fractured_majority_of_a_lumbar_crop_is_still_graded() -> None:
    """T11 to L5 only, three of seven whole."""
    levels = ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    heights = patient(levels, L1=(0.6, 0.5, 0.8), L2=(0.65, 0.6, 0.9), L3=(0.9, 0.62, 0.95), L4=(0.75, 0.65, 0.97))
    found = grades(graded(heights, levels))
    assert set(found) == {"L1", "L2", "L3", "L4"}
    assert found["L1"] == 3


def test_one_body_measured_too_tall_does_not_fracture_the_others() -> None:
    results = graded(patient(T9=(1.3, 1.3, 1.3)))
    assert grades(results) == {}


def test_missing_neighbors_change_little() -> None:
    heights = patient(L1=(0.7, 0.82, 1.0))
    whole = graded(heights)
    keep = [0, 2, 5, 8, 9, 10, 12]
    some = graded(heights[keep], [LEVELS[n] for n in keep])
    assert grades(some) == {"L1": 2}
    assert some["L1"].loss == pytest.approx(whole["L1"].loss, abs=0.03)


def test_order_of_the_vertebrae_does_not_matter() -> None:
    heights = patient(L1=(0.7, 0.82, 1.0))
    turned = [LEVELS[n] for n in range(len(LEVELS) - 1, -1, -1)]
    first, second = graded(heights), graded(heights[::-1], turned)
    for level in LEVELS:
        assert first[level].loss == pytest.approx(second[level].loss, abs=1e-9)


def test_interval_holds_the_score_and_grows_with_uncertainty() -> None:
    heights = patient(L1=(0.75, 0.85, 1.0))
    sharp, vague = graded(heights, sd_mm=0.3), graded(heights, sd_mm=2.0)
    for results in (sharp, vague):
        for result in results.values():
            low, high = result.score_interval
            assert 0.0 <= low <= result.score <= high <= 3.0
            assert (result.loss_interval[:, 0] <= result.loss).all()
            assert (result.loss <= result.loss_interval[:, 1]).all()
    width = [np.subtract(*results["L1"].score_interval[::-1]) for results in (sharp, vague)]
    assert width[1] > width[0]
    assert graded(heights)["L1"] is not sharp["L1"]
    assert graded(heights, sd_mm=0.3)["L1"].score_interval == sharp["L1"].score_interval  # no chance in it


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_vertebrae_are_graded_against_norms_and_marked_weak(count: int) -> None:
    levels = ["L1", "L2"][:count]
    results = graded(patient(["L1", "L2"])[:count], levels)
    assert len(results) == count
    assert all(result.weak for result in results.values())
    assert grades(results) == {}


def test_single_wedged_body_is_seen_by_its_own_shape() -> None:
    results = graded(patient(["L1"], L1=(0.6, 0.8, 1.0)), ["L1"])
    assert results["L1"].grade >= 2
    assert results["L1"].weak


def test_hopeless_heights_still_give_finite_results() -> None:
    heights = patient()
    heights[3] = [0.5, 0.5, 0.5]
    heights[7] = [80.0, 80.0, 80.0]
    for result in graded(heights).values():
        assert np.isfinite(result.loss).all()
        assert np.isfinite(result.reference_mm).all()
        assert 0 <= result.grade <= 3


# ---- what must not pull the reference -----------------------------------------------------------------------------


def scattered(rng: np.random.Generator, sd: float, share_broken: float, levels: int) -> tuple[NDArray[np.float64], ...]:
    """Positions, heights, and the heights that the patient's curve would give, of one patient (norms as they are)."""
    positions = np.arange(4.0, 4.0 + levels)
    curve = expected_log_heights(positions) + rng.normal(0.0, 0.1)
    heights = np.exp(curve + rng.normal(0.0, sd, (levels, 1)) + rng.normal(0.0, sd, (levels, 3)))
    for n in np.flatnonzero(rng.random(levels) < share_broken):
        loss = rng.uniform(0.1, 0.55)
        heights[n] *= 1.0 - loss * np.array([(1.0, 0.5, 0.1), (0.3, 1.0, 0.3), (1.0, 1.0, 1.0)][int(rng.integers(3))])
    return positions, heights, np.exp(curve)


@pytest.mark.parametrize("sd", [0.02, 0.03, 0.045])
@pytest.mark.parametrize("share_broken", [0.0, 0.2, 0.5])
def test_curve_lies_in_the_middle_of_sound_vertebrae_however_many_are_broken(sd: float, share_broken: float) -> None:
    rng = np.random.default_rng(11)
    off = []
    for _ in range(40):
        positions, heights, curve = scattered(rng, sd, share_broken, 12)
        fitted = fit_curve(positions, np.log(heights), np.full(heights.shape, 0.015), known=True)
        off.append(float((fitted.log_mm - np.log(curve)).mean()))
    assert abs(np.mean(off)) < 0.012


@pytest.mark.parametrize("shape", [(1.0, 0.5, 0.0), (0.25, 1.0, 0.25), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("loss", [0.22, 0.28, 0.36, 0.45])
def test_graded_loss_of_a_broken_vertebra_is_unbiased(shape: tuple[float, ...], loss: float) -> None:
    rng = np.random.default_rng(12)
    read = []
    for _ in range(60):
        positions, heights, _ = scattered(rng, 0.025, 0.0, 13)
        heights[6] *= 1.0 - loss * np.array(shape)
        read.append(grade_heights(positions, heights, np.full(heights.shape, 0.3), known=True)[6].graded)
    assert np.mean(read) == pytest.approx(loss, abs=0.015)


def test_small_sound_vertebra_is_granted_its_size_and_a_broken_one_is_not() -> None:
    small = graded(patient(noise=0.0, L1=(0.93, 0.93, 0.93)))["L1"]
    crushed = graded(patient(noise=0.0, L1=(0.72, 0.72, 0.72)))["L1"]
    assert abs(small.loss).max() < 0.05
    assert crushed.loss == pytest.approx([0.28] * 3, abs=0.02)
