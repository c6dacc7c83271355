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
from VertebralGradingLib.training import healthivert  # noqa: E402
from VertebralGradingLib.training.slices import Slices, fill  # noqa: E402

TINY = healthivert.configured("tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("healthivert")
    healthivert.train_healthivert(TINY, out)
    return out


def test_tiny_configuration_trains_end_to_end(run: Path) -> None:
    head, *rows = (run / "curve.csv").read_text().splitlines()
    assert {"fooled", "told apart", "reconstruction", "dice", "neighbours", "edge", "height"} <= set(head.split(","))
    assert len(rows) == 2 and list((run / "samples").glob("*.png"))
    weights = read_arrays(run / "generator.safetensors")
    assert set(weights) == set(Generator(TINY.network).state_dict())
    assert (run / "generator.safetensors").stat().st_size < 2.5 * sum(value.size for value in weights.values()) + 20_000


def test_larger_boxes_are_padded_with_air(run: Path) -> None:
    wide = replace(TINY, network=replace(TINY.network, size=256))
    batch = healthivert.HealthivertTask(Slices(run / "slices"), wide).batch(0)
    assert batch["ct"].shape[2:] == (256, 256)
    assert (batch["ct"][:, :, :, :60] == -1.0).all() and (batch["body"][:, :, :, :60] == 0.0).all()
    assert batch["body"][:, :, 122:134, 122:134].mean() > 0.7


def test_slices_show_the_body_in_the_middle_and_sound_neighbours(run: Path, tmp_path: Path) -> None:
    content = Slices(run / "slices").content
    body, near = content["body"] > 0, content["neighbours"] > 0
    assert len(body) >= 8 and not (body & near).any()
    assert body[:, 58:70, 58:70].float().mean() > 0.7
    hu = content["image"].float()
    assert hu[body].mean() > hu[~body & ~near].mean() + 50
    assert content["place"].min() >= 0 and content["place"].max() <= 0.8
    plan = replace(TINY.slices, view="coronal", slices=6)
    fill(plan, tmp_path)
    wide = Slices(tmp_path).content["body"] > 0
    widths = [mask.any(0).sum() / mask.any(1).sum() for mask in wide]
    deep = [mask.any(0).sum() / mask.any(1).sum() for mask in body]
    assert np.median(widths) > np.median(deep)  # bodies are wider than deep
    with pytest.raises(InputError, match="view"):
        fill(replace(plan, view="axial"), tmp_path / "other")


def test_batch_hides_the_height(run: Path) -> None:
    task = healthivert.HealthivertTask(Slices(run / "slices"), TINY)
    batch = task.batch(0)
    assert torch.equal(batch["ct"], task.batch(0)["ct"])
    gap = TINY.network.gap
    assert (batch["mask"].sum((1, 2, 3)) == gap * TINY.network.size).all()
    assert (batch["open"] * batch["mask"] == 0).all()
    for k in range(len(batch["ct"])):
        first, last, top = (int(batch[name][k]) for name in ("first", "last", "top"))
        assert batch["body"][k, 0, first : last + 1].sum() == batch["body"][k].sum()
        assert torch.equal(batch["open"][k, 0, top - 1], batch["ct"][k, 0, first - 1])
        assert torch.equal(batch["open"][k, 0, top + gap], batch["ct"][k, 0, last + 1])


def test_closing_at_the_own_height_gives_the_slice_back(run: Path) -> None:
    task = healthivert.HealthivertTask(Slices(run / "slices"), TINY)
    batch, gap = task.batch(1), TINY.network.gap
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
    paper = healthivert.configured("paper256").network
    assert (paper.size, paper.gap, paper.width) == (256, 40, 16)
    (tmp_path / "wrong.json").write_text("{}")
    for name in ("none", str(tmp_path / "wrong.json")):
        with pytest.raises(InputError):
            healthivert.configured(name)
