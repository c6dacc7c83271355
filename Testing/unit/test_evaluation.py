"""Figures and their intervals, tables of found bodies, and blocks cut out of a folder of CTs with masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.evaluation import bodies, body_tables, calibration
from VertebralGradingLib.evaluation.statistics import area_under_curve, by_subject, written
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.folders import write_grades, write_subject
from VertebralGradingLib.phantom.imaging import Scanner
from VertebralGradingLib.phantom.plans import SubjectPlan
from VertebralGradingLib.phantom.subjects import make_subject
from VertebralGradingLib.phantom.volumes import render_ct
from VertebralGradingLib.segmentation import CLASSICAL, Finder


def test_area_under_curve_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(5):
        truth, score = rng.random(60) < 0.3, rng.integers(0, 12, 60).astype(float)
        assert area_under_curve(truth, score) == pytest.approx(metrics.roc_auc_score(truth, score))
    assert np.isnan(area_under_curve(np.ones(3, dtype=bool), np.arange(3.0)))


def test_bootstrap_draws_subjects_not_vertebrae() -> None:
    """With one value per subject, repeated, the interval is as wide as that of the subjects' mean."""
    rng = np.random.default_rng(1)
    per_subject = rng.normal(size=30)
    values, subjects = np.repeat(per_subject, 10), [f"s{k}" for k in np.repeat(np.arange(30), 10)]
    whole, (low, high) = by_subject(lambda chosen: float(values[chosen].mean()), subjects, draws=2000)
    assert whole == pytest.approx(per_subject.mean())
    assert (high - low) / (2 * 1.645) == pytest.approx(per_subject.std() / np.sqrt(30), rel=0.1)
    naive = by_subject(lambda chosen: float(values[chosen].mean()), [str(k) for k in range(300)], draws=2000)[1]
    assert high - low > 2 * (naive[1] - naive[0])


def test_numbers_are_written_with_their_interval() -> None:
    assert written(0.5, (0.25, 0.75), 2) == "0.50 [0.25, 0.75]"
    assert written(0.5) == "0.500"


ROW = bodies.Row(
    "a", "L1", "network", 1.5, (20.0, 20.0, 20.0), (21.0, 20.0, 19.0), 0.0, 0, 0, 0.2, (0.0, 0.4), (), "grade 0",
    0.3, 0.96, 0.01,
)  # fmt: skip


def test_table_counts_what_it_says() -> None:
    rows = [
        ROW,
        replace(ROW, subject="b", true_loss=0.30, true_grade=2, grade=2, score=1.8, interval=(1.2, 2.4)),
        replace(ROW, subject="c", true_loss=0.45, true_grade=3, grade=1, score=1.0, interval=(0.5, 1.5)),
        replace(ROW, subject="d", grade=None, score=None, interval=None, outcome="cut"),
    ]
    text = "\n".join(body_tables.describe(rows))
    assert "network    1.5 mm slices: 0.667 [0.667, 0.667] bias +0.000" in text
    assert "AUC 1.000" in text
    assert "(2 of 3), exact 0.667, not graded 0.250" in text


def test_coverage_and_chances_count_what_they_say() -> None:
    """Two of three sound vertebrae are held, of signed losses; the chances' Brier score is worked out by hand."""
    sound = replace(ROW, loss_interval=(-0.05, 0.05), chances=(0.9, 0.1, 0.0, 0.0))
    rows = [
        sound,
        replace(sound, subject="b", loss_interval=(0.01, 0.12)),  # clipped at 0 it would be held
        replace(sound, subject="c", loss_interval=(-0.08, 0.02)),
        replace(sound, subject="d", true_loss=0.3, loss_interval=(0.2, 0.4), chances=(0.1, 0.3, 0.6, 0.0)),
        replace(sound, subject="e", loss_interval=None, chances=None),
    ]
    text = "\n".join(calibration.describe(rows))
    assert "all slices sound       0.667" in text
    assert "all slices 20 to 40 %  1.000" in text
    assert f"chance of grade 1 or more: Brier score {0.1**2:.3f}" in text
    assert f"chance of grade 2 or more: Brier score {0.4**2 / 4:.3f}" in text
    assert "0.10: 0.00 of 3   0.90: 1.00 of 1" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom with CT and masks, coarse enough to be rendered in seconds."""
    out = tmp_path_factory.mktemp("data")
    plan = SubjectPlan("sub-one", "train", {"L1": 0, "L2": 2, "L3": 0})
    subject = make_subject(plan, 5)
    scanner = Scanner(pixel_mm=1.5, slice_mm=1.5, step_mm=1.5)
    write_subject(subject, render_ct(subject.spine, scanner, list(plan.grades), 32.0, 30.0, 40.0), out)
    write_grades([("sub-one", level, grade, "train") for level, grade in subject.read.items()], out)
    return out


def test_folder_is_judged_against_its_masks(folder: Path) -> None:
    rows = bodies.evaluate_folder(folder, (bodies.TRUE_MASK, "classical"))
    assert {row.level for row in rows} >= {"L1", "L2", "L3"}
    true = [row for row in rows if row.search == bodies.TRUE_MASK]
    assert all(row.found_mm == row.true_mm and row.dice == pytest.approx(1.0, abs=0.01) for row in true)
    assert {row.level: row.true_grade for row in true}["L2"] == 2
    classical = [row for row in rows if row.search == "classical"]
    assert all(0.6 < row.dice < 0.999 for row in classical)
    with pytest.raises(InputError):
        bodies.evaluate_folder(folder / "rawdata")


def test_spine_that_is_refused_counts_as_not_graded() -> None:
    case = bodies.draw_case(3, 0.0, images=False)
    air = Volume(np.full((40, 40, 40), -1000, dtype=np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
    affine = air.affine.copy()
    affine[:3, 3] = np.mean([point.position for point in case.points], axis=0) - 200.0
    rows = bodies.grade_case(replace(case, ct=Volume(air.array, affine)), "classical")
    assert {row.level for row in rows} == set(case.truths)
    assert all(row.grade is None and not row.found_mm and "grey values" in row.outcome for row in rows)


def test_folder_becomes_blocks(folder: Path, tmp_path: Path) -> None:
    from VertebralGradingLib.training.blocks import CLASSES, BlockPlan, Blocks
    from VertebralGradingLib.training.folders import fill_from_folder

    fill_from_folder(folder, tmp_path, BlockPlan(edge=48))
    store = Blocks(tmp_path)
    assert len(store) >= 9  # three levels, three places each
    one = store.get(list(range(len(store))))
    inside, outside = one["share"] > 0.9, (one["share"] == 0) & (one["kind"] == CLASSES.index("soft"))
    assert one["share"][:, 0, 22:26, 22:26, 22:26].mean() > 0.9
    assert one["image"][inside].mean() > one["image"][outside].mean() + 50
    assert (one["kind"] == CLASSES.index("neighbour")).any()
    with pytest.raises(InputError):
        fill_from_folder(folder / "rawdata", tmp_path, BlockPlan(edge=48))


def test_folder_becomes_patches_and_is_trained_on_without_labels(folder: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from VertebralGradingLib.training import autoencoder
    from VertebralGradingLib.training.patches import Patches
    from VertebralGradingLib.training.runs import RunOptions

    tiny = replace(autoencoder.configured("tiny"), labels=1.0, edits=0.5)  # without labels nothing comes of these
    tiny = replace(tiny, loop=replace(tiny.loop, steps=2), batch=4)
    autoencoder.train_autoencoder(tiny, RunOptions(tmp_path / "run", data=folder, samples=tmp_path / "patches"))
    store = Patches(tmp_path / "patches")
    assert len(store) >= 9 and store.content["graded_loss"].isnan().all() and not store.has_before
    middle = store.get(list(range(len(store))))[:, 0, 60:68, 60:68].mean()
    assert middle > 50  # bone, where the vertebra of interest is
    with pytest.raises(InputError, match="another plan"):
        autoencoder.train_autoencoder(tiny, RunOptions(tmp_path / "other", samples=tmp_path / "patches"))
    with pytest.raises(InputError, match="preset"):
        autoencoder.configured("tiny", preset="none")


def test_command_prints_the_table() -> None:
    from typer.testing import CliRunner

    from VertebralGradingLib.cli import app

    command = ["evaluate", "segmentation", "--spines", "1", "--seed", "31"]
    done = CliRunner().invoke(app, [*command, "--search", "true mask"])
    assert done.exit_code == 0, done.output
    assert "true mask" in done.output and "not graded" in done.output
    assert isinstance(CliRunner().invoke(app, [*command, "--search", "magic"]).exception, MethodError)


def test_searches_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def bodies_by(name: str) -> Finder:
        return replace(CLASSICAL, about={"source": "network" if network else "classical"})

    monkeypatch.setattr(bodies, "choose_finder", bodies_by)
    network = False
    assert bodies.usable(None) == ("true mask", "classical")
    network = True
    assert bodies.usable(None) == ("true mask", "classical", "network")
    assert bodies.usable(["classical", "classical"]) == ("classical",)
