"""The shared training loop, blocks, and the body network trained end to end on phantoms in its tiny configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from torch import nn  # noqa: E402

from VertebralGradingLib.errors import InputError, MethodError, OutputError  # noqa: E402
from VertebralGradingLib.image.png import outlined, tile, windowed, write_png  # noqa: E402
from VertebralGradingLib.segmentation.network import (  # noqa: E402
    BodyNetwork,
    NetworkConfig,
    depth_to_space,
    space_to_depth,
)
from VertebralGradingLib.training import blocks, checkpoints, segmentation, shards  # noqa: E402
from VertebralGradingLib.training.augment import augment  # noqa: E402
from VertebralGradingLib.training.loop import LoopConfig, fit, learning_rate  # noqa: E402
from VertebralGradingLib.training.runs import RunOptions  # noqa: E402

TINY = segmentation.CONFIGS["tiny"]


class Line:
    """A task with a known answer: y = 3 x - 1."""

    memory_format = torch.contiguous_format

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(32, 1))).float()
        return {"x": x, "y": 3 * x - 1}

    def loss(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss = (model(batch["x"]) - batch["y"]).square().mean()
        return loss, {"error": loss.sqrt()}

    def picture(self, model: nn.Module) -> None:
        return None


LOOP = LoopConfig(400, learning_rate=0.1, warmup=10, weight_decay=0.0, decay=0.9, clip=10.0, snapshots=2)


def test_loop_finds_a_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    average, state = fit(nn.Linear(1, 1), Line(), LOOP, tmp_path)
    assert average.weight.item() == pytest.approx(3.0, abs=0.01)
    assert average.bias.item() == pytest.approx(-1.0, abs=0.01)
    assert state.step == 400
    assert state.rows[-1]["error"] < 0.05 < state.rows[0]["error"]
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        "0000300.safetensors",
        "0000400.safetensors",
    ]


class NoisyLine(Line):
    """The same with noise, so that where a run ends depends on all of the optimizer's state."""

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        batch = super().batch(step)
        noise = np.random.default_rng([step, 1]).normal(0, 0.5, (32, 1))
        return {**batch, "y": batch["y"] + torch.from_numpy(noise).float()}


def test_run_that_is_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def start() -> nn.Module:
        torch.manual_seed(1)
        return nn.Linear(1, 1)

    short = replace(LOOP, steps=60, save_seconds=0.0)
    whole, _ = fit(start(), NoisyLine(), short, tmp_path / "whole")

    class Stops(NoisyLine):
        def batch(self, step: int) -> dict[str, torch.Tensor]:
            if step == 40:
                raise KeyboardInterrupt
            return super().batch(step)

    with pytest.raises(KeyboardInterrupt):
        fit(start(), Stops(), short, tmp_path / "parts")
    torch.manual_seed(99)  # what is resumed does not depend on how it is started
    resumed, state = fit(nn.Linear(1, 1), NoisyLine(), short, tmp_path / "parts")
    assert [row["step"] for row in state.rows] == [20.0, 40.0, 60.0]
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))
    for name in checkpoints.FILES:
        one, other = (checkpoints.read_tensors(tmp_path / run / "checkpoint-0000060" / f"{name}.safetensors")
                      for run in ("whole", "parts"))  # fmt: skip
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert len(list((tmp_path / "parts").glob("checkpoint-*"))) == 1


def test_checkpoint_whose_writing_is_broken_off_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    real = checkpoints.os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target).name == "state.json":
            raise OSError("no space left")
        real(source, target)

    monkeypatch.setattr(checkpoints.os, "replace", failing)
    with pytest.raises(OutputError):
        fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    monkeypatch.undo()
    _, state = fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    assert state.step == 2


def test_time_limit_leaves_a_checkpoint(tmp_path: Path) -> None:
    _, state = fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    assert state.step == 1
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 1


def test_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    with pytest.raises(InputError, match="another configuration"):
        fit(nn.Linear(1, 1), Line(), replace(LOOP, steps=500), tmp_path)


@pytest.mark.parametrize("name", checkpoints.FILES)
def test_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    path = tmp_path / "checkpoint-0000001" / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=f"damaged: {name}"):
        fit(nn.Linear(1, 1), Line(), LOOP, tmp_path)


@pytest.mark.parametrize(
    "name", ["state.json", "checkpoint-0000001/curve.csv", "checkpoint-0000001/weights.safetensors"]
)
def test_checkpoint_that_cannot_be_read_is_a_typed_error(tmp_path: Path, name: str) -> None:
    fit(nn.Linear(1, 1), Line(), LOOP, tmp_path, limit_seconds=0.0)
    if name == "state.json":
        (tmp_path / name).write_text("{")
    else:
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        fit(nn.Linear(1, 1), Line(), LOOP, tmp_path)


def test_loss_that_is_not_finite_is_told(tmp_path: Path) -> None:
    class Broken(Line):
        def loss(
            self, model: nn.Module, batch: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return super().loss(model, batch)[0] * float("nan"), {}

    with pytest.raises(MethodError, match="step 0"):
        fit(nn.Linear(1, 1), Broken(), LOOP, tmp_path)


def test_learning_rate_rises_and_falls() -> None:
    config = LoopConfig(1000, learning_rate=1.0, warmup=100)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == max(rates) == pytest.approx(1.0)
    assert rates[550] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 1e-5


def test_space_to_depth_is_undone() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    deep = space_to_depth(x, 2)
    assert deep.shape == (2, 24, 2, 3, 4)
    assert torch.equal(depth_to_space(deep, 2), x)
    assert torch.equal(deep[:, :8, 0, 0, 0], x[:, 0, :2, :2, :2].reshape(2, 8))


def test_network_answers_at_full_size() -> None:
    network = BodyNetwork(NetworkConfig((8, 16))).eval()
    with torch.no_grad():
        out = network(torch.zeros(1, 1, 24, 24, 24))
        moved = network(torch.full((1, 1, 24, 24, 24), 4000.0))
        cut = network(torch.full((1, 1, 24, 24, 24), 1300.0))
    assert out.shape == (1, 4, 24, 24, 24)
    assert torch.equal(moved, cut)  # HU beyond the range tell nothing
    with pytest.raises(ValueError, match="groups"):
        BodyNetwork(NetworkConfig((6, 16)))
    with pytest.raises(ValueError, match="layout"):
        NetworkConfig.from_dict({"channels": [8], "depth": 3})
    assert NetworkConfig.from_dict(NetworkConfig((8, 16)).to_dict()) == NetworkConfig((8, 16))


def test_dice_loss_is_that_of_monai() -> None:
    losses = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    found, truth = torch.rand(3, 1, 6, 7, 8), torch.rand(3, 1, 6, 7, 8)
    theirs = losses.DiceLoss(squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)(found, truth)
    assert segmentation.soft_dice_loss(found, truth).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_loss_is_least_at_the_truth() -> None:
    share = torch.zeros(1, 1, 8, 8, 8)
    share[..., 2:6, 2:6, 2:6] = 1.0
    kind = torch.zeros(1, 1, 8, 8, 8, dtype=torch.uint8)
    kind[..., 0, :, :] = blocks.CLASSES.index("disc")
    kind[..., 7, :, :] = blocks.CLASSES.index("neighbour")
    targets = [share, share, (kind == 2).float(), (kind == 3).float()]
    right = torch.cat([40 * one - 20 for one in targets], 1)
    assert segmentation.segmentation_loss(right, share, kind)[0].item() < 0.02
    for n in range(4):
        wrong = right.clone()
        wrong[:, n] = -wrong[:, n]
        assert segmentation.segmentation_loss(wrong, share, kind)[0].item() > 1.0
    # what the scan does not cover counts a tenth
    kind[..., 0, :, :] = blocks.CLASSES.index("unseen")
    right[:, 3] = -20
    wrong = right.clone()
    wrong[:, 0, 0] = 20
    unseen = segmentation.segmentation_loss(wrong, share, kind)[0]
    kind[..., 0, :, :] = 0
    assert unseen < 0.3 * segmentation.segmentation_loss(wrong, share, kind)[0]
    # where nobody tells what is disc, calling it disc costs nothing
    kind[:] = blocks.CLASSES.index("soft")
    wrong, none = right.clone(), right.clone()
    wrong[:, 3], none[:, 3] = 20, -20
    assert torch.equal(*(segmentation.segmentation_loss(one, share, kind)[0] for one in (wrong, none)))


def test_targets_follow_the_depth() -> None:
    depth = torch.full((1, 1, 6, 6, 6), -5.0)
    depth[..., 2:4, :, :] = torch.tensor([0.2, 3.0])[:, None, None]
    depth[..., 1, :, :] = -0.2
    bodies = ((depth > 0) * 20).to(torch.uint8)
    batch = {
        "image": torch.full_like(depth, 77.6),
        "label": torch.tensor([20]),
        "bodies": bodies,
        "vertebrae": bodies,
        "tissue": torch.zeros_like(bodies),
        "depth": depth,
        "outside": torch.zeros_like(bodies, dtype=torch.bool),
    }
    out = blocks.targets(batch)
    column = out["share"][0, 0, :, 3, 3].float() / 255
    assert column.tolist() == pytest.approx([0.0, 0.3, 0.7, 1.0, 0.0, 0.0], abs=0.003)
    assert out["image"].unique().tolist() == [78]
    other = blocks.targets({**batch, "label": torch.tensor([21])})
    assert other["share"].max() == 0
    assert (other["kind"][bodies > 0] == blocks.CLASSES.index("neighbour")).all()


def test_changes_keep_image_and_classes_together() -> None:
    image = torch.zeros(6, 1, 16, 16, 16)
    image[:, :, 4:9, 5:11, 2:7] = 500.0
    kind, unseen = (image > 250).to(torch.uint8), []
    for seed in range(4):
        out = augment({"image": image, "kind": kind, "share": kind.float()}, np.random.default_rng(seed), unseen=4)
        assert out["image"].shape == image.shape and out["kind"].dtype == torch.uint8
        known = out["kind"] < 4
        assert ((out["kind"] == 1) == (out["share"] > 0.5))[known].float().mean() > 0.999
        assert out["share"].sum(dim=(1, 2, 3, 4)).numpy() == pytest.approx(6 * 5 * 5, rel=0.7)
        unseen.append(float((~known).float().mean()))
        for n in range(6):
            inside, outside = out["image"][n][out["kind"][n] == 1], out["image"][n][out["kind"][n] == 0]
            assert inside.mean() > outside.mean() + 150
    assert max(unseen) > 0.01  # what came from outside of a block is told
    again = augment({"image": image, "kind": kind, "share": kind.float()}, np.random.default_rng(3), unseen=4)
    assert torch.equal(again["image"], out["image"])


def test_pictures(tmp_path: Path) -> None:
    from PIL import Image

    grey = windowed(np.linspace(-600, 1100, 100).reshape(10, 10))
    assert grey[0, 0] == 0 and grey[-1, -1] == 255
    mask = np.zeros((10, 10), dtype=bool)
    mask[3:7, 3:7] = True
    drawn = outlined(grey, mask, (255, 0, 0))
    assert (drawn[3, 3:7] == (255, 0, 0)).all() and (drawn[4, 4] == grey[4, 4]).all()
    sheet = tile([[grey, drawn], [grey]], gap=1)
    assert sheet.shape == (22, 22, 3)
    write_png(sheet, tmp_path / "a.png")
    assert (np.array(Image.open(tmp_path / "a.png")) == sheet).all()


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from VertebralGradingLib.cli import app

    out = tmp_path_factory.mktemp("run")
    done = CliRunner().invoke(app, ["train", "segmentation", "--config", "tiny", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_tiny_configuration_trains_end_to_end(tiny_run: Path) -> None:
    state = json.loads((tiny_run / "state.json").read_text())
    assert state["step"] == TINY.loop.steps
    lines = (tiny_run / "curve.csv").read_text().splitlines()
    assert lines[0].startswith("step,seconds,loss,gradient,body_dice")
    assert len(lines) == 1 + TINY.loop.steps // TINY.loop.log_every
    first, last = (float(line.split(",")[2]) for line in (lines[1], lines[-1]))
    assert last < first
    assert next((tiny_run / "samples").glob("*.png")).stat().st_size > 1000
    assert next((tiny_run / "snapshots").glob("*.safetensors")).exists()


def test_blocks_are_read_back_and_another_plan_is_refused(tiny_run: Path) -> None:
    store = blocks.Blocks(tiny_run / "blocks")
    assert len(store) == TINY.blocks.blocks
    one = store.get([0, 2])
    assert one["image"].shape == (2, 1, 40, 40, 40)
    middle = one["share"][:, 0, 18:22, 18:22, 18:22]
    assert middle.mean() > 0.5  # the vertebra of interest lies in the middle
    with pytest.raises(InputError, match="another plan"):
        blocks.fill(replace(TINY.blocks, seed=1), tiny_run / "blocks")
    with pytest.raises(InputError, match="no samples"):
        blocks.Blocks(tiny_run / "samples")


def test_blocks_of_another_source_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another plan"):
        shards.claim(tiny_run / "blocks", {"source": "a folder of CTs", "edge": 40, "seed": 0})
    (tmp_path / "shard-0000.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="another plan"):
        shards.claim(tmp_path, {"edge": 40})  # samples that nobody says anything of
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError):
        shards.claim(tmp_path, {"edge": 40})
    with pytest.raises(InputError, match="cannot be read"):
        blocks.Blocks(tmp_path)


def test_killed_process_is_a_typed_error(tmp_path: Path) -> None:
    """The child that renders is killed from outside while it works."""
    script = (
        "import os, signal, threading, time\n"
        "from multiprocessing import active_children\n"
        "from VertebralGradingLib.errors import MethodError\n"
        "from VertebralGradingLib.training.blocks import BlockPlan, fill\n"
        "def kill():\n"
        "    while not active_children():\n"
        "        time.sleep(0.05)\n"
        "    time.sleep(1.0)\n"
        "    for child in active_children():\n"
        "        child.kill()\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=kill, daemon=True).start()\n"
        "    try:\n"
        "        fill(BlockPlan(shards=2, spines=1, blocks=4, edge=40), 'blocks', workers=2)\n"
        "    except MethodError as error:\n"
        "        print(error.message, error.hint)\n"
    )
    (tmp_path / "killed.py").write_text(script)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "killed.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "was ended" in done.stdout and "Run the command again" in done.stdout
    assert (tmp_path / "blocks" / "plan.json").exists()


def test_wrong_wishes_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="huge"):
        segmentation.configured("huge")
    with pytest.raises(InputError, match="bogus"):
        segmentation.configured("tiny", "bogus")
    with pytest.raises(MethodError, match="not available"):
        segmentation.train_segmentation(TINY, RunOptions(tmp_path, device="cuda:63"))


def test_shard_depends_on_its_plan_alone(tiny_run: Path, tmp_path: Path) -> None:
    blocks.fill(TINY.blocks, tmp_path, workers=2)
    again, first = blocks.Blocks(tmp_path), blocks.Blocks(tiny_run / "blocks")
    assert torch.equal(again.content["image"], first.content["image"])
    assert torch.equal(again.content["share"], first.content["share"])
