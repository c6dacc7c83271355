"""Plans, subjects, volumes, folders, patches: what a data set of phantoms is made of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from VertebralGradingLib.errors import InputError, OutputError  # noqa: E402
from VertebralGradingLib.image.sampling import sample  # noqa: E402
from VertebralGradingLib.morphometry.genant import grade_of_loss  # noqa: E402
from VertebralGradingLib.phantom.command import describe_counts, published_counts, write_dataset  # noqa: E402
from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset  # noqa: E402
from VertebralGradingLib.phantom.draw import draw_spine  # noqa: E402
from VertebralGradingLib.phantom.field import Field, prepare  # noqa: E402
from VertebralGradingLib.phantom.folders import read_folder, read_grades  # noqa: E402
from VertebralGradingLib.phantom.imaging import Scanner, draw_scanner  # noqa: E402
from VertebralGradingLib.phantom.masks import body_masks  # noqa: E402
from VertebralGradingLib.phantom.patches import pose, scan  # noqa: E402
from VertebralGradingLib.phantom.plans import plan, verse19_counts  # noqa: E402
from VertebralGradingLib.phantom.pool import PoolSpine, draw_pool, load_pool, save_pool  # noqa: E402
from VertebralGradingLib.phantom.subjects import draw_loss  # noqa: E402
from VertebralGradingLib.phantom.volumes import render_ct  # noqa: E402
from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret  # noqa: E402


@pytest.mark.parametrize(
    ("preset", "subjects", "vertebrae"), [("verse19-1460", 153, 1460), ("grading-loss-1283", 157, 1283)]
)
def test_presets_have_the_published_counts(preset: str, subjects: int, vertebrae: int) -> None:
    for seed in (0, 1):
        plans = plan(preset, 0, seed)
        assert len(plans) == subjects
        counted = Counter((one.split, grade) for one in plans for grade in one.grades.values())
        assert sum(counted.values()) == vertebrae
        for split, row in published_counts(preset).items():
            assert tuple(counted[split, grade] for grade in range(4)) == row
        assert all(one.reader_noise for one in plans)
        assert len({one.name for one in plans}) == subjects


def test_verse19_has_the_published_counts_per_level() -> None:
    plans = plan("verse19-1460", 0, 3)
    for split in ("train", "val", "test"):
        for level, row in verse19_counts(split).items():
            found = Counter(one.grades[level] for one in plans if one.split == split and level in one.grades)
            assert tuple(found[grade] for grade in range(4)) == row


def test_a_plan_needs_sense() -> None:
    with pytest.raises(ValueError, match="preset"):
        plan("verse25", 3, 0)
    with pytest.raises(ValueError, match="number"):
        plan("uniform", 0, 0)


def test_reader_noise_gives_the_wanted_grade_and_blurs_the_truth() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_loss(1, 0.04, rng) for _ in range(300)]
    assert all(grade_of_loss(loss + error) == 1 for loss, error in drawn)
    assert np.mean([grade_of_loss(loss) != 1 for loss, _ in drawn]) > 0.2
    assert all(error == 0 for _, error in (draw_loss(2, 0.0, rng) for _ in range(20)))


def test_dataset_folder_is_read_back(tmp_path: Path) -> None:
    rows = write_dataset(tmp_path / "again", 2, 5, "verse19-1460", images=False)
    assert rows[:1] == write_dataset(tmp_path, 1, 5, "verse19-1460", images=False)[:1]
    cases = read_folder(tmp_path / "again")
    assert {case.subject for case in cases} == {"sub-phantom0001", "sub-phantom0002"}
    read = [(case.subject, level, grade, case.split) for case in cases for level, grade in case.grades.items()]
    assert sorted(read) == sorted(rows)
    for case in cases:
        assert case.truth is not None
        content = json.loads(case.truth.read_text())
        for level, row in content["vertebrae"].items():
            before, after = row["heights_before_mm"], row["heights_after_mm"]
            for name, loss in row["height_loss"].items():
                assert 1 - after[name] / before[name] == pytest.approx(loss, abs=1e-3)
            assert row["grade"] == grade_of_loss(max(row["graded_loss"], 0))
            assert case.grades[level] == row["grade_read"]
        with pytest.raises(InputError, match="no CT"):
            case.load_ct()
    assert "published: G0 594" in describe_counts(rows, "verse19-1460")[0]


def test_command_line_writes_a_data_set(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from VertebralGradingLib.cli import app

    command = ["phantom", "--out", str(tmp_path), "--n", "1", "--seed", "4", "--no-images"]
    done = CliRunner().invoke(app, [*command, "--preset", "grading-loss-1283", "--no-reader-noise"])
    assert done.exit_code == 0, done.output
    assert "published: G0 851" in done.output
    (case,) = read_folder(tmp_path)
    assert case.truth is not None
    assert json.loads(case.truth.read_text())["reader_noise"] is False
    failed = CliRunner().invoke(app, [*command, "--preset", "verse25"])
    assert isinstance(failed.exception, InputError)


def test_grade_lists_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "vertebra_data.json").write_text(json.dumps({"train": {"sub-verse004_20": 3, "sub-verse004_16": 2}}))
    grades, splits = read_grades(tmp_path / "vertebra_data.json")
    assert grades == {"sub-verse004": {"L1": 3, "T9": 2}}
    assert splits == {"sub-verse004": "train"}
    (tmp_path / "bad.csv").write_text("subject,level,grade\nsub-1,L1,7\n")
    with pytest.raises(InputError, match="grades"):
        read_grades(tmp_path / "bad.csv")
    with pytest.raises(InputError, match="VerSe"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="cannot be planned"):
        write_dataset(tmp_path / "x", 1, 0, "nothing")
    with pytest.raises(OutputError, match="cannot be written"):
        write_dataset(tmp_path / "bad.csv", 1, 5, "verse19-1460", images=False)


@pytest.mark.parametrize("tilt", [0.0, 0.25])
def test_rendered_ct_has_its_masks_and_centroids_in_place(tilt: float) -> None:
    spine = draw_spine(8)
    scanner = Scanner(noise_hu=10.0, slice_mm=3.0, step_mm=3.0, pixel_mm=1.5, tilt=tilt)
    images = render_ct(spine, scanner, ["L1", "L2"], half_width_mm=40.0, ahead_mm=45.0, behind_mm=70.0)
    assert images.ct.same_grid(images.vertebrae)
    across = images.ct.affine[:3, 2] / np.linalg.norm(images.ct.affine[:3, 2])
    assert across[2] == pytest.approx(np.cos(tilt))
    truth = body_masks(prepare(spine), ["L1", "L2"])  # straight from the formulas, on voxels of the patient's axes
    where = np.argwhere(images.bodies.array > 0)[::7]
    here = images.bodies.array[tuple(where.T)]
    there = sample(truth, where @ images.bodies.affine[:3, :3].T + images.bodies.affine[:3, 3], order=0, fill=0)
    assert np.mean(here[np.isin(here, (20, 21))] == there[np.isin(here, (20, 21))]) > 0.95
    assert set(images.centroids) >= {"L1", "L2"}
    for level, label in (("L1", 20), ("L2", 21)):
        place = tuple(np.rint(images.ct.to_index(images.centroids[level])).astype(int))
        assert images.bodies.array[place] == label
        body, whole = images.bodies.array == label, images.vertebrae.array == label
        assert (body & ~whole).sum() == 0
        assert whole.sum() > 1.3 * body.sum()
        inner = images.ct.array[body]
        assert inner.mean() > images.ct.array[images.vertebrae.array == 0].mean()
    found = {p.level: p.position for p in centroids_from_labels(interpret(images.bodies, "verse"))}
    assert np.linalg.norm(np.array(found["L1"]) - images.centroids["L1"]) < 3.0


@pytest.fixture(scope="module")
def pool() -> list[PoolSpine]:
    return draw_pool(2, 3, fractures=2.0)


def test_pool_is_written_and_read(pool: list[PoolSpine], tmp_path: Path) -> None:
    save_pool(pool, tmp_path / "pool.safetensors")
    back = load_pool(tmp_path / "pool.safetensors")
    for one, two in zip(pool, back, strict=True):
        assert np.array_equal(one.spine.vertebrae, two.spine.vertebrae)
        assert one.mimics == two.mimics
        assert {k: v.grade for k, v in one.truths.items()} == {k: v.grade for k, v in two.truths.items()}
    with pytest.raises(InputError, match="does not exist"):
        load_pool(tmp_path / "none.safetensors")


def test_dataset_yields_patches_with_truth(pool: list[PoolSpine]) -> None:
    options = DatasetOptions(batch=4, healed=True)
    data = PhantomDataset(pool, 1, options)
    batch = data.batch(0)
    assert (
        batch["image"].shape == batch["voi"].shape == batch["mask"].shape == batch["healed"].shape == (4, 1, 128, 128)
    )
    assert float(batch["voi"].max()) > 0.99
    assert bool((batch["image"] >= -1024).all())
    assert bool(torch.isfinite(batch["image"]).all())
    assert all(
        int(grade) == grade_of_loss(float(loss))
        for grade, loss in zip(batch["grade"], batch["graded_loss"], strict=True)
    )
    again = PhantomDataset(pool, 1, options).batch(0)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(batch["image"], data.batch(1)["image"])
    middle = batch["mask"][:, 0, 58:70, 58:70].float().mean((1, 2))
    assert float(middle.mean()) > 0.8
    for n in range(4):
        same = torch.equal(batch["image"][n], batch["healed"][n])
        assert same == (float(batch["graded_loss"][n]) == 0.0)
        if not same:
            assert int(batch["healed_mask"][n].sum()) > int(batch["mask"][n].sum())


def test_dataset_yields_blocks(pool: list[PoolSpine]) -> None:
    block = PhantomDataset(pool, 1, DatasetOptions(shape=(48, 40, 44), batch=1, appearance=0.0, jitter=0.0)).batch(0)
    assert block["image"].shape == block["mask"].shape == (1, 1, 48, 40, 44)
    assert block["mask"][0, 0, 24, 20, 22] == 1


def test_scanner_changes_noise_slices_and_range() -> None:
    spine = draw_spine(4)
    field = Field([spine])
    where = pose(spine, field.frame("L2"), "L2", 0, amount=0.0)
    plain = Scanner(noise_hu=0.0)
    images = {
        name: scan(field, [where], [scanner])[0][0, ..., 0]
        for name, scanner in {
            "plain": plain,
            "noisy": Scanner(noise_hu=40.0),
            "thick": Scanner(noise_hu=0.0, slice_mm=5.0, step_mm=5.0),
            "sharp": Scanner(noise_hu=0.0, sharpen=1.0),
        }.items()
    }
    assert float((images["noisy"] - images["plain"]).std()) == pytest.approx(40.0, rel=0.15)
    down = {name: float(image.diff(dim=0).abs().mean()) for name, image in images.items()}
    along = {name: float(image.diff(dim=1).abs().mean()) for name, image in images.items()}
    assert down["thick"] < 0.75 * down["plain"]
    assert along["sharp"] > 1.1 * along["plain"]
    assert draw_scanner(3) == draw_scanner(3)
    assert len({draw_scanner(n, 0.0).noise_hu for n in range(5)}) == 1
