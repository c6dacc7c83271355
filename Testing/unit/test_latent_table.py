"""The diffusion autoencoder's table, on latents whose truth is known, and on a small folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from sklearn.metrics import f1_score

from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, SemanticEncoder
from VertebralGradingLib.errors import InputError, OutputError
from VertebralGradingLib.evaluation import latent, latent_pictures
from VertebralGradingLib.phantom.folders import write_grades, write_subject
from VertebralGradingLib.phantom.imaging import Scanner
from VertebralGradingLib.phantom.plans import SubjectPlan
from VertebralGradingLib.phantom.subjects import make_subject
from VertebralGradingLib.phantom.volumes import render_ct
from VertebralGradingLib.training.finetune import TuneConfig, fine_tune
from VertebralGradingLib.training.latent import Labelled


def graded(seed: int, subjects: int = 30, noise: float = 0.5) -> latent.Graded:
    rng = np.random.default_rng(seed)
    grade = rng.choice([0, 2, 3], size=8 * subjects, p=(0.8, 0.12, 0.08))
    z = rng.normal(size=(len(grade), 6)) * noise
    z[:, 1] += grade
    names = [f"s{k // 8}" for k in range(len(grade))]
    position = 1.0 + 2.0 * (np.arange(len(grade)) % 8)
    beside = np.clip(grade + rng.normal(0, 0.1, len(grade)), 0, 3)
    beside[:4] = np.nan
    return latent.Graded(Labelled(z, grade, names, position), [f"T{int(p)}" for p in position], beside)


def test_table_has_every_row_beside_the_published_figures() -> None:
    lines, grader = latent.describe(graded(0), graded(1), draws=20)
    text = "\n".join(lines)
    for name in ("linear layer, direct classes", "SVM, direct classes", "SVM, line through means", "SVM, degree 1",
                 "SVM, degree 2", "SVM, degree 3", "morphometry, true mask"):  # fmt: skip
        assert name in text
    assert "0.93 0.59" in text and "0.93 0.56" in text and "0.96 0.44" in text
    assert "(4 not graded)" in text
    assert "mean distance rises with the grade" in text
    assert text.count("intervals hold") == 4
    assert grader.calibration.kind == "poly3"


def test_table_tells_a_good_encoder_from_a_bad_one() -> None:
    def area(noise: float) -> float:
        lines, _ = latent.describe(graded(0, noise=noise), graded(1, noise=noise), draws=4)
        return float(next(line for line in lines if line.startswith("SVM, direct")).split()[3])

    assert area(0.3) > 0.99
    assert area(6.0) < 0.9


def test_macro_f1_is_that_of_scikit_learn_and_a_grade_that_is_not_there_is_wrong() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.choice([0, 2, 3], 200), rng.choice([0, 2, 3], 200)
    theirs = f1_score(truth, found, labels=[0, 2, 3], average="macro")
    assert latent.macro_f1(truth, found, [0, 2, 3]) == pytest.approx(theirs)
    once = np.where(found == 2, 1, found)
    assert latent.macro_f1(truth, once, [0, 2, 3]) < latent.macro_f1(truth, found, [0, 2, 3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    subject = make_subject(SubjectPlan("sub-one", "train", {"L1": 0, "L2": 2}), 5)
    scanner = Scanner(pixel_mm=1.5, slice_mm=1.5, step_mm=1.5)
    write_subject(subject, render_ct(subject.spine, scanner, ["L1", "L2"], 32.0, 30.0, 40.0), out)
    write_grades([("sub-one", level, grade, "train") for level, grade in subject.read.items()], out)
    return out


def test_folder_becomes_latents(folder: Path) -> None:
    splits = latent.collect(folder)
    assert set(splits) == {"train"}
    patches = splits["train"]
    assert patches.images.shape == (2, 128, 128) and patches.images.dtype == np.int16
    assert np.isfinite(patches.beside).all() and patches.beside[1] > patches.beside[0] + 1.0
    part = latent.encoded(patches, lambda hu: hu.reshape(len(hu), -1)[:, :7].astype(float))
    assert part.level == ["L1", "L2"] and part.data.grade.tolist() == [0, 2]
    assert part.data.z.shape == (2, 7) and part.data.subject == ["sub-one"] * 2
    assert part.data.position.tolist() == [13.0, 14.0]
    with pytest.raises(InputError, match="no case"):
        latent.collect(folder / "rawdata")


def test_fine_tuned_encoder_has_its_row() -> None:
    train, test = graded(0), graded(1)
    tuned = latent.Tuned(test.data.grade + 0.0, test.data.grade)
    lines, _ = latent.describe(train, test, draws=4, tuned=tuned)
    row = next(line for line in lines if line.startswith("encoder fine-tuned"))
    assert row.split()[2] == "1.000" and row.endswith("0.96 0.44")


def test_pictures_of_the_latent_space(tmp_path: Path) -> None:
    train, test = graded(0, subjects=8), graded(1, subjects=8)
    _, grader = latent.describe(train, test, draws=4)
    (tmp_path / "curve.csv").write_text("step,seconds,loss,early,late\n1,0,1,1,1\n2,1,0.5,0.6,0.4\n")
    paths = latent_pictures.draw(train, test, grader, tmp_path / "out", tmp_path)
    assert [path.name for path in paths] == ["tsne.png", "curves.png"]
    for path in paths:
        assert path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 20_000
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        latent_pictures.draw(train, test, grader, tmp_path / "file")


def test_fine_tuning_learns_and_leaves_the_encoder_alone() -> None:
    config = AutoencoderConfig(size=32, spacing_mm=4.0, latent=16, width=8, denoiser=(1, 2), encoder=(1, 2),
                               blocks=1, fold=2, groups=4, dropout=0.0)  # fmt: skip
    torch.manual_seed(0)
    encoder = SemanticEncoder(config)
    before = [value.clone() for value in encoder.parameters()]
    grade = np.array([0, 2, 3] * 8)
    hu = np.full((24, 128, 128), -100, dtype=np.int16)
    for image, value in zip(hu, grade, strict=True):
        image[40 + 8 * value : 88 - 8 * value] = 500
    tuned = fine_tune(encoder, hu, grade, TuneConfig(steps=60, batch=12, learning_rate=3e-3))
    odds, found = tuned(hu)
    assert (found == grade).mean() > 0.9
    assert odds[grade == 0].max() < odds[grade > 0].min()
    for old, new in zip(before, encoder.parameters(), strict=True):
        assert torch.equal(old, new)
    with pytest.raises(InputError, match="fractured"):
        fine_tune(encoder, hu, np.zeros(24, dtype=int))


def test_command_needs_both_splits(folder: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from VertebralGradingLib.cli import app

    out = tmp_path / "run"
    assert CliRunner().invoke(app, ["train", "dae", "--config", "tiny", "--out", str(out)]).exit_code == 0
    done = CliRunner().invoke(app, ["evaluate", "dae", "--data", str(folder), "--run", str(out)])
    assert isinstance(done.exception, InputError) and "train and test" in done.exception.message
