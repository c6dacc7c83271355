"""Latent grading on latents whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from VertebralGradingLib.diffusion_autoencoder.latent import Calibration, LatentGrader, rounded
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.training.latent import (
    Labelled,
    conformal_widths,
    fit_calibration,
    fit_grader,
    held_out_scores,
)

LENGTH = 12
SEVERITY, LEVEL = np.eye(LENGTH)[2], np.eye(LENGTH)[5]
UNITS = np.linspace(0.5, 20.0, LENGTH)
"""Latents come in very different units: what standardising is for."""


def made(subjects: int = 40, seed: int = 0, confounded: float = 0.0) -> Labelled:
    """Vertebrae whose latent says severity along one axis and level along another."""
    rng = np.random.default_rng(seed)
    rows, grades, names, places = [], [], [], []
    for k in range(subjects):
        for position in range(1, 18, 2):
            grade = int(rng.choice(4, p=(0.7, 0.08, 0.12, 0.10)))
            z = rng.normal(size=LENGTH) * 0.35 + (grade * SEVERITY) + 0.25 * position * LEVEL
            z += confounded * grade * LEVEL
            rows.append(UNITS * z + 3.0)
            grades.append(grade)
            names.append(f"s{k}")
            places.append(float(position))
    return Labelled(np.array(rows), np.array(grades), names, np.array(places))


@pytest.fixture(scope="module")
def grader() -> LatentGrader:
    return fit_grader(made(), draws=20, strength=0.1)


@pytest.mark.parametrize("classifier", ["svm", "linear"])
def test_hyperplane_finds_severity(classifier: str) -> None:
    fitted = fit_grader(made(), classifier, draws=4, strength=0.1)
    assert np.linalg.norm(fitted.normal) == pytest.approx(1.0)
    assert fitted.normal @ SEVERITY > 0.95
    other = made(seed=1)
    distance = fitted.distance(other.z)
    assert distance[other.grade >= 2].min() > distance[other.grade == 0].max() - 1.0
    means = [distance[other.grade == g].mean() for g in range(4)]
    assert means == sorted(means)


def test_scores_follow_grades(grader: LatentGrader) -> None:
    other = made(seed=2)
    score = grader.score(other.z)
    assert np.abs(score - other.grade).mean() < 0.4
    assert score.min() >= 0 and score.max() <= 3
    assert (rounded(score) == other.grade).mean() > 0.7
    assert (grader.direct(other.z) == other.grade).mean() > 0.7


def test_intervals_cover_and_are_no_narrower_than_the_spread(grader: LatentGrader) -> None:
    other = made(seed=3)
    interval, spread = grader.interval(other.z), grader.spread(other.z)
    inside = (interval[:, 0] <= other.grade) & (other.grade <= interval[:, 1])
    assert 0.85 <= inside.mean() <= 1.0
    assert (interval[:, 0] <= spread[:, 0] + 1e-9).all() and (interval[:, 1] >= spread[:, 1] - 1e-9).all()


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("wanted", [0.0, 0.7, 2.0, 3.0])
def test_moved_latents_have_the_wanted_grade(grader: LatentGrader, wanted: float, project: bool) -> None:
    for z in made(seed=4).z[:6]:
        assert float(grader.score(grader.moved(z, wanted, project))) == pytest.approx(wanted, abs=1e-6)


def test_projection_leaves_the_level_alone() -> None:
    """Where severity and level are mixed in training, the plain move drags the level along, the projected one not."""
    fitted = fit_grader(made(confounded=0.6), draws=2, strength=0.1)
    z = made(seed=5).z[0]
    step = {project: np.abs((fitted.moved(z, 3.0, project) - z) / UNITS) for project in (True, False)}
    assert step[True] @ LEVEL < 0.35 * (step[False] @ LEVEL)
    assert step[True] @ SEVERITY > 5 * (step[True] @ LEVEL)
    assert fitted.direction(project=True) @ fitted.nuisance.T == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("kind", ["means", "poly1", "poly2", "poly3", "isotonic"])
def test_calibrations_invert(kind: str) -> None:
    rng = np.random.default_rng(0)
    grade = rng.choice([0, 2, 3], size=400, p=(0.8, 0.12, 0.08))
    distance = grade * 1.3 - 1.0 + rng.normal(0, 0.5, 400)
    line = fit_calibration(distance, grade, kind)
    wanted = np.linspace(0.1, 2.9, 8)
    assert line.grades(line.distances(wanted)) == pytest.approx(wanted, abs=1e-6)
    assert line.grades([-50.0, 50.0]).tolist() == [0.0, 3.0]
    assert (np.diff(line.grades(np.linspace(-3, 5, 200))) >= 0).all()


def test_line_through_means_is_the_published_one() -> None:
    distance, grade = np.array([-1.0, -3.0, 0.5, 3.0, 5.0]), np.array([0, 0, 2, 3, 3])
    line = fit_calibration(distance, grade, "means")
    assert line.grades([-2.0, 1.0, 4.0]).tolist() == pytest.approx([0.0, 1.5, 3.0])  # 3 (d - m0) / (m3 - m0)


def test_polynomial_that_turns_over_gives_way() -> None:
    rng = np.random.default_rng(1)
    distance = np.concatenate([rng.normal(0, 1, 300), rng.normal(2.0, 0.1, 20), rng.normal(2.2, 1.6, 20)])
    grade = np.concatenate([np.zeros(300), np.full(20, 3), np.full(20, 2)]).astype(int)
    line = fit_calibration(distance, grade, "poly3")
    assert line.kind == "isotonic" and line.fallback == "poly3 turns over"
    assert (np.diff(line.grade) > 0).all()


def test_rounding_rules() -> None:
    score = [0.49, 0.5, 0.99, 1.0, 1.49, 1.5, 2.49, 2.5, 7.0, -1.0]
    assert rounded(score).tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 3, 0]
    assert rounded(score, np.array([0, 2, 3])).tolist() == [0, 0, 0, 2, 2, 2, 2, 3, 3, 0]


def test_conformal_width_holds_nine_of_ten() -> None:
    score, grade = np.zeros(99), np.zeros(99, dtype=int)
    score[:99] = np.linspace(0, 0.49, 99)
    assert conformal_widths(score, grade)[0] == pytest.approx(np.linspace(0, 0.49, 99)[89])
    assert conformal_widths(score, grade)[2] == conformal_widths(score, grade)[0]  # no score there: the width of all


def test_arrays_bring_the_grader_back(grader: LatentGrader) -> None:
    again = LatentGrader.from_arrays(grader.to_arrays(), "poly3")
    z = made(seed=6).z[:5]
    assert again.score(z) == pytest.approx(grader.score(z))
    assert again.interval(z) == pytest.approx(grader.interval(z))
    assert again.moved(z[0], 2.0) == pytest.approx(grader.moved(z[0], 2.0))
    assert again.others.keys() == grader.others.keys()
    kept = Calibration("poly3", again.calibration.distance, again.calibration.grade, "poly3 turns over")
    noted = LatentGrader.from_arrays(replace(grader, calibration=kept).to_arrays(), "poly3")
    assert noted.calibration.fallback == "poly3 turns over"
    broken = grader.to_arrays()
    del broken["normal"]
    with pytest.raises(ValueError, match="belong together"):
        LatentGrader.from_arrays(broken, "poly3")
    with pytest.raises(ValueError, match="belong together"):
        LatentGrader.from_arrays({**grader.to_arrays(), "scale": np.ones(3)}, "poly3")
    with pytest.raises(ValueError, match="belong together"):
        LatentGrader.from_arrays({**grader.to_arrays(), "boot_grade": np.ones((2, 2))}, "poly3")


def test_flat_ends_do_not_run_away() -> None:
    """A curve that hardly rises at its end: grade 3 lies about where the whole line would put it."""
    distance = np.linspace(-3.0, 3.0, 50)
    line = Calibration("poly3", distance, 2.5 * np.tanh((distance + 3.0) / 1.5) + 1e-6 * distance)
    assert 3.0 < float(line.distances(3.0)) < 6.0
    assert line.grades(line.distances(3.0)) == pytest.approx(3.0)


def test_what_cannot_be_fitted_is_told() -> None:
    data = made(6)
    with pytest.raises(InputError, match="no healthy or no fractured"):
        fit_grader(data.part(data.grade == 0), strength=0.1)
    with pytest.raises(InputError, match="do not lie beyond"):
        fit_calibration(np.array([1.0, 1.1, -2.0, -2.1]), np.array([0, 0, 3, 3]), "means")
    with pytest.raises(ValueError, match="must rise"):
        Calibration("means", np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def test_held_out_scores_come_from_other_subjects() -> None:
    """Latents that name their subject cannot help."""
    rng = np.random.default_rng(0)
    names = [f"s{k // 8}" for k in range(320)]
    own = rng.normal(size=(40, LENGTH))
    grade = np.repeat(rng.choice([0, 3], 40), 8)
    z = own[np.arange(320) // 8] + 0.01 * rng.normal(size=(320, LENGTH))
    score = held_out_scores(Labelled(z, grade, names, np.zeros(320)), "linear", 1.0, "poly1")
    assert abs(np.corrcoef(score, grade)[0, 1]) < 0.4
