"""HealthiVert-GAN's training from phantom to weights, its batches, and the preparation of masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from VertebralGradingLib.errors import InputError  # noqa: E402
from VertebralGradingLib.healthivert.gap import Gap, closed, opened  # noqa: E402
from VertebralGradingLib.healthivert.network import Drawn, Generator  # noqa: E402
from VertebralGradingLib.healthivert.preparation import to_hu, to_network, without_arch  # noqa: E402
from VertebralGradingLib.models.weights import read_arrays  # noqa: E402
from VertebralGradingLib.phantom.folders import write_grades  # noqa: E402
from VertebralGradingLib.training import healthivert  # noqa: E402
from VertebralGradingLib.training.classifier import ClassifierTask  # noqa: E402
from VertebralGradingLib.training.openings import Openings  # noqa: E402
from VertebralGradingLib.training.runs import RunOptions  # noqa: E402
from VertebralGradingLib.training.slice_folders import slices_from_folder  # noqa: E402
from VertebralGradingLib.training.slices import BROKEN, SOUND, Slices, fill  # noqa: E402

TINY = healthivert.configured("tiny")


def openings(run: Path, size: int = TINY.network.size, mirror: bool = False) -> Openings:
    return Openings(Slices(run / "slices"), size, TINY.network.gap, TINY.seed, mirror)


def task(run: Path, config: healthivert.HealthivertTraining = TINY) -> healthivert.HealthivertTask:
    return healthivert.HealthivertTask(openings(run, config.network.size), config)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("healthivert")
    healthivert.train_healthivert(TINY, RunOptions(out))
    return out


def test_tiny_configuration_trains_end_to_end(run: Path) -> None:
    head, *rows = (run / "curve.csv").read_text().splitlines()
    assert {"fooled", "told apart", "reconstruction", "dice", "neighbours", "edge", "cross", "height"} <= set(
        head.split(",")
    )
    assert len(rows) == 2 and list((run / "samples").glob("*.png"))
    assert (run / "classifier" / "average.safetensors").is_file()
    weights = read_arrays(run / "generator.safetensors")
    assert set(weights) == set(Generator(TINY.network).state_dict())
    assert (run / "generator.safetensors").stat().st_size < 2.5 * sum(value.size for value in weights.values()) + 20_000


def test_training_leaves_small_numbers_as_they_were(run: Path) -> None:
    assert np.finfo(np.float64).tiny / 2 > 0.0 and float(torch.tensor(1e-40) * 0.5) > 0.0


def test_larger_boxes_are_padded_with_air(run: Path) -> None:
    wide = replace(TINY, network=replace(TINY.network, size=256))
    batch = task(run, wide).batch(0)
    assert batch["ct"].shape[2:] == (256, 256)
    assert (batch["ct"][:, :, :, :60] == -1.0).all() and (batch["body"][:, :, :, :60] == 0.0).all()
    assert batch["body"][:, :, 122:134, 122:134].mean() > 0.7


def test_slices_show_the_body_in_the_middle_and_its_neighbours(run: Path, tmp_path: Path) -> None:
    content = Slices(run / "slices").content
    body, near = content["body"] > 0, content["neighbours"]
    assert len(body) >= 8 and not (body & (near > 0)).any()
    assert set(near.unique().tolist()) <= {0, SOUND, BROKEN}
    assert body[:, 58:70, 58:70].float().mean() > 0.7
    hu = content["image"].float()
    assert hu[body].mean() > hu[~body & (near == 0)].mean() + 50
    assert content["place"].min() >= 0 and content["place"].max() <= 0.8
    assert content["position"].min() >= 1 and content["position"].max() <= 18
    plan = replace(TINY.slices, view="coronal", slices=6)
    fill(plan, tmp_path)
    wide = Slices(tmp_path).content["body"] > 0
    widths = [mask.any(0).sum() / mask.any(1).sum() for mask in wide]
    deep = [mask.any(0).sum() / mask.any(1).sum() for mask in body]
    assert np.median(widths) > np.median(deep)  # bodies are wider than deep
    with pytest.raises(ValueError, match="view"):
        replace(plan, view="axial")
    with pytest.raises(InputError, match="cut out of CTs"):
        fill(replace(plan, frame="straight"), tmp_path / "other")


def test_broken_vertebrae_are_learned_as_they_were(tmp_path: Path) -> None:
    """The same spines once as they are and once healed: only broken ones differ, and healed they are taller."""
    plan = replace(TINY.slices, spines=3, slices=40)
    fill(plan, tmp_path)
    content = Slices(tmp_path).content
    changed = (content["image"] != content["healed"]).flatten(1).any(1)
    assert 0 < changed.sum() < len(changed)
    own, healed = ((content[name] > 0).flatten(1).sum(1)[changed] for name in ("body", "healed_body"))
    assert (healed > 0.97 * own).all() and (healed.float() / own).mean() > 1.1
    assert torch.equal(content["body"][~changed], content["healed_body"][~changed])
    broken = int(torch.nonzero(changed)[0, 0])
    item = Openings(Slices(tmp_path), 128, 40, 0, False).item(broken, False)
    assert item is not None and (item["body"] > 0).sum() == (content["healed_body"][broken] > 0).sum()
    near = item["open"][0, int(item["top"]) - 8 : int(item["top"])]
    rows = np.flatnonzero(content["body"][broken].any(1))
    original = to_network(content["image"][broken].numpy())[rows[0] - 8 : rows[0]]
    assert np.array_equal(near.numpy(), original)  # the surroundings are those of the broken vertebra


def test_classifier_sees_what_the_generators_see(run: Path) -> None:
    batch = openings(run).batch(0, 6)
    assert set(batch["broken"].tolist()) <= {0, 1}
    seen = ClassifierTask(openings(run), TINY.classifier).batch(0)
    assert torch.equal(seen["open"], openings(run).batch(0, TINY.classifier.batch)["open"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One synthetic spine of boxes as a VerSe-style folder: whole vertebrae, T12 of grade 2."""
    from rendering.analytic import analytic_spine, box_spine_ct, grid_around

    from VertebralGradingLib.image.io import write_volume
    from VertebralGradingLib.spine.points import write_markups

    root = tmp_path_factory.mktemp("verse")
    levels = ("T11", "T12", "L1", "L2")
    spine = analytic_spine(levels, np.full((4, 3), 24.0), sagittal_deg=[12, 4, -4, -12], origin=(12, -30, 200))
    case = box_spine_ct(spine, *grid_around(spine, (1.0, 1.0, 1.0)))
    (root / "rawdata" / "sub-a").mkdir(parents=True)
    (root / "derivatives" / "sub-a").mkdir(parents=True)
    write_volume(case.ct, root / "rawdata" / "sub-a" / "sub-a_ct.nii.gz")
    write_volume(case.labels, root / "derivatives" / "sub-a" / "sub-a_seg-vert_msk.nii.gz")
    write_markups(case.points, root / "derivatives" / "sub-a" / "sub-a_ctd.json")
    write_grades([("sub-a", level, 2 if level == "T12" else 0, "train") for level in levels], root)
    return root


@pytest.mark.parametrize("frame", ["straight", "plane"])
@pytest.mark.parametrize("view", ["sagittal", "coronal"])
def test_folders_give_slices_of_sound_vertebrae_without_arches(
    folder: Path, tmp_path: Path, view: str, frame: str
) -> None:
    plan = replace(TINY.slices, view=view, frame=frame)
    slices_from_folder(folder, tmp_path, plan)
    content = Slices(tmp_path).content
    assert sorted(set(content["position"].tolist())) == [11.0, 13.0, 14.0]  # not T12, which is broken
    body = content["body"] > 0
    for mask in body:
        rows, columns = (np.flatnonzero(mask.any(axis).numpy()) for axis in (1, 0))
        assert abs(len(rows) - 24) <= 4 and 20 <= len(columns) <= 56
        assert abs(rows.mean() - 63.5) < 3.5 and abs(columns.mean() - 63.5) < 5
    assert (content["neighbours"] == BROKEN).flatten(1).any(1).any()
    if view == "sagittal":  # in a straightened block neighbours stand upright above one another
        lean = []
        for mask in content["neighbours"][content["position"] == 11.0] > 0:
            rows, columns = np.nonzero(mask.numpy())
            if len(rows) > 200:
                lean.append(abs(np.polyfit(rows, columns, 1)[0]))
        assert (max(lean) < 0.12) == (frame == "straight")
    with pytest.raises(InputError, match="another plan"):
        slices_from_folder(folder, tmp_path, replace(plan, seed=plan.seed + 1))
    with pytest.raises(InputError, match="grades"):
        (tmp_path / "empty" / "sub-b").mkdir(parents=True)
        (tmp_path / "empty" / "sub-b" / "sub-b_ct.nii.gz").write_bytes(b"")
        slices_from_folder(tmp_path / "empty", tmp_path / "none", plan)


def test_batch_hides_the_height(run: Path) -> None:
    batch, gap = task(run).batch(0), TINY.network.gap
    assert all(torch.equal(value, task(run).batch(0)[name]) for name, value in batch.items())
    assert (batch["mask"].sum((1, 2, 3)) == gap * TINY.network.size).all()
    assert (batch["open"] * batch["mask"] == 0).all()
    for k in range(len(batch["ct"])):
        first, last, top = (int(batch[name][k]) for name in ("first", "last", "top"))
        assert batch["body"][k, 0, first : last + 1].sum() == batch["body"][k].sum()
        assert batch["body"][k, 0, [first, last]].any(1).all()
        assert abs((first + last) - (2 * top + gap - 1)) <= 1  # whatever it was before, it stands in the middle


def test_closing_at_the_own_height_gives_the_slice_back(run: Path) -> None:
    batch, gap = task(run).batch(1), TINY.network.gap
    heights = (batch["last"] - batch["first"] + 1).float() / gap
    drawn = torch.full_like(batch["ct"], 0.5)
    made = Drawn(drawn, drawn, drawn, drawn, torch.stack([heights, heights - 1e-4], 1))
    fine, coarse, body = healthivert.closed_at_prediction(made, batch, gap)
    for k in range(len(fine)):
        where = Gap(int(batch["first"][k]), int(batch["last"][k]), int(batch["top"][k]), gap)
        original = batch["ct"][k, 0].numpy()
        filled = np.where(where.mask(original.shape), np.float32(0.5), opened(original, where))
        assert np.array_equal(fine[k, 0].numpy(), closed(original, filled, where, where.height))
        outside = np.ones(len(original), bool)
        outside[where.first : where.last + 1] = False
        assert np.array_equal(fine[k, 0].numpy()[outside], original[outside])
        assert (body[k, 0].numpy()[outside] == 0).all() and (body[k, 0].numpy()[~outside] == 0.5).all()
    assert torch.equal(fine, coarse)


def test_arch_is_taken_off_and_the_body_stays() -> None:
    label = np.zeros((30, 60, 40), dtype=bool)
    label[5:25, 10:30, 5:35] = True  # body
    whole = label.copy()
    whole[8:14, 30:45, 8:12] = whole[8:14, 30:45, 28:32] = True  # pedicles, beside the canal
    whole[5:25, 45:55, 15:25] = True  # spinous process
    assert np.array_equal(without_arch(whole), label)
    assert np.array_equal(without_arch(label), label)
    whole[10:12, 2:4, 19:22] = label[10:12, 2:4, 19:22] = True  # an osteophyte that the mask leaves apart
    assert np.array_equal(without_arch(whole), label)
    assert not without_arch(np.zeros((3, 3, 3), bool)).any()


def test_window_is_undone() -> None:
    hu = np.array([-1000.0, -300.0, 250.0, 800.0, 2000.0])
    assert to_network(hu).tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert to_hu(to_network(hu)).tolist() == [-300.0, -300.0, 250.0, 800.0, 800.0]


def test_configurations_and_wrong_ones(tmp_path: Path) -> None:
    for name in healthivert.CONFIGS:
        config = healthivert.configured(name, "coronal")
        assert config.slices.view == "coronal" and config.weights.edge_on == "soft"
    paper = healthivert.configured("paper256")
    assert (paper.network.size, paper.network.gap, paper.network.width) == (256, 40, 16)
    assert (paper.slices.targets, paper.slices.frame, paper.weights.closed_at) == ("sound", "straight", "predicted")
    assert (paper.weights.reconstruction, paper.weights.height, paper.weights.cross) == (200.0, 40.0, 0.0)
    (tmp_path / "wrong.json").write_text("{}")
    for name in ("none", str(tmp_path / "wrong.json")):
        with pytest.raises(InputError):
            healthivert.configured(name)
