"""HealthiVert-GAN's tables: support vectors that have not seen the subject, the published protocol, errors, bias."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tools.random_healthivert import random_networks

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.evaluation import height_loss, height_tables
from VertebralGradingLib.evaluation.height_loss import NEIGHBOURS, NETWORK, TRUE, Row
from VertebralGradingLib.morphometry.genant import grade_of_loss


def rows(error: float = 0.02, bias: float = 0.0, subjects: int = 30) -> list[Row]:
    """Crushed vertebrae whose loss is found with a given error."""
    rng, out = np.random.default_rng(0), []
    for n in range(subjects):
        split = ("train", "val", "test")[n % 3]
        for level in ("T11", "T12", "L1", "L2", "L3", "L4"):
            loss = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.2, 0.55))
            grade = grade_of_loss(loss)
            found = {TRUE: (loss,) * 7}
            for name in (NETWORK, NEIGHBOURS):
                found[name] = tuple(loss + bias + error * rng.normal(size=7))
            out.append(
                Row(f"s{n}", split, level, grade, grade, False, float(grade), found, dict.fromkeys(found, error))
            )
    return out


def test_folds_do_not_see_the_subject() -> None:
    """Features that only tell whose vertebra it is are of no use."""
    subjects = [f"s{k // 4}" for k in range(160)]
    grade = np.repeat(np.random.default_rng(1).integers(0, 4, 40), 4)
    x = np.eye(40)[np.repeat(np.arange(40), 4)]
    honest = height_tables.grouped(x, grade, subjects)
    assert (height_tables.classifier(x, grade)(x) == grade).all()  # seen, they tell all
    assert (honest == grade).mean() < 0.6


def test_support_vectors_find_grades_of_good_losses() -> None:
    part = rows()
    x = np.array([row.features[NETWORK][:3] for row in part])
    truth = np.array([row.grade for row in part])
    assert (height_tables.grouped(x, truth, [row.subject for row in part]) == truth).mean() > 0.8
    assert height_tables.unlearned((0.1, 0.1, 0.0, 0, 0, 0, 0.1)) == 0
    assert height_tables.unlearned((0.21, 0.1, 0.0, 0, 0, 0, 0.1)) == 2  # 25 % at the edge of a wedge
    assert height_tables.unlearned((-0.3, -0.1, 0.0, 0, 0, 0, -0.1)) == 0


def test_table_tells_errors_bias_and_protocols(tmp_path: Path) -> None:
    text = "\n".join(height_tables.describe(rows(0.02, 0.05), draws=20))
    assert "published protocol" in text and "0.727  0.753  0.723" in text
    line = next(line for line in text.splitlines() if line.startswith("healthy, HealthiVert-GAN"))
    assert float(line.split()[2]) == pytest.approx(0.05, abs=0.01)
    bias = text.splitlines()[text.splitlines().index("mean error of healthy vertebrae (bias), thirds and whole:") + 2]
    assert [float(v) for v in bias.split()[-4:]] == pytest.approx([0.05] * 4, abs=0.01)
    some = [replace(row, features={TRUE: row.features[TRUE], NETWORK: row.features[NETWORK]}) if n % 2 else row
            for n, row in enumerate(rows())]  # fmt: skip
    text = "\n".join(height_tables.describe(some, draws=5))
    assert f"without a reference: neighbours' shape {len(some) // 2}" in text
    height_tables.write_rows(some, tmp_path / "losses.csv")
    with (tmp_path / "losses.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(some) and read[1]["neighbours anterior"] == "nan"
    assert float(read[0]["true whole"]) == pytest.approx(some[0].features[TRUE][-1], abs=1e-4)


def test_truth_of_a_synthetic_spine() -> None:
    """The true loss is that of the heights, sound vertebrae lost nothing, and a network's body is what it draws."""
    found = height_loss.evaluate_presets(lambda: random_networks(0.6), "uniform", n=1, seed=3)
    assert found and {row.subject for row in found} == {"sub-phantom0001"}
    for row in found:
        true = row.features[TRUE]
        assert (max(true) < 0.02) if row.true_grade == 0 and true[-1] < 0.01 else true[-1] > 0
        assert row.columns[TRUE] == 0.0 and np.isfinite(row.features[NETWORK]).all()
        assert abs(row.likeness[NETWORK].ssim) <= 1 and row.likeness[NETWORK].dice > 0.2
    severe = max(found, key=lambda row: row.features[TRUE][-1])
    assert severe.true_grade == 3 and severe.features[NEIGHBOURS][-1] > 0.25
    with pytest.raises(InputError, match="data set"):
        height_loss.evaluate_presets(random_networks, "none")
