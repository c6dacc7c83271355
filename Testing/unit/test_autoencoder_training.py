"""Training of the diffusion autoencoder: from phantom to weights, with and without labels; batches and losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

from typer.testing import CliRunner  # noqa: E402

from VertebralGradingLib.cli import app  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.inference import PatchEncoder  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.network import DiffusionAutoencoder  # noqa: E402
from VertebralGradingLib.errors import InputError  # noqa: E402
from VertebralGradingLib.models.weights import read_arrays  # noqa: E402
from VertebralGradingLib.training import autoencoder  # noqa: E402
from VertebralGradingLib.training.patches import Patches  # noqa: E402
from VertebralGradingLib.training.runs import RunOptions  # noqa: E402

TINY = autoencoder.configured("tiny")
LABELLED = replace(
    TINY,
    network=replace(TINY.network, places=2, guide=2),
    patches=replace(TINY.patches, shards=1, before=1),
    loop=replace(TINY.loop, steps=3),
    guide=1.0,
    labels=0.3,
)


def test_noisy_times_may_weigh_more(run: Path) -> None:
    patches = Patches(run / "patches")
    plain = autoencoder.AutoencoderTask(patches, TINY)
    weighted = autoencoder.AutoencoderTask(patches, replace(TINY, weight=20.0))
    model, batch = DiffusionAutoencoder(TINY.network), plain.batch(0)  # predicts nothing: its error is the noise's size
    error = batch["noise"].square().mean((1, 2, 3))
    share = torch.as_tensor(plain.schedule.alpha_bar, dtype=torch.float32)[batch["time"]]
    assert float(plain.loss(model, batch)[0].detach()) == pytest.approx(float(error.mean()))
    wanted = float((error * (1.0 / share).clamp(max=20.0)).mean())
    assert float(weighted.loss(model, batch)[0].detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    autoencoder.train_autoencoder(LABELLED, RunOptions(out / "run", samples=out / "patches"))
    return out


def test_training_with_labels(labelled: Path, run: Path, tmp_path: Path) -> None:
    rows = (labelled / "run" / "curve.csv").read_text().splitlines()
    assert {"score", "apart", "guide"} <= set(rows[0].split(","))
    patches = Patches(labelled / "patches")
    image, before, loss = (patches.content[name] for name in ("image", "before", "graded_loss"))
    broken = loss > 0.1
    change = (image.int() - before.int()).abs().float().mean((1, 2))
    assert broken.any() and change[broken].min() > 3.0 and change[loss == 0].max() == 0.0
    task = autoencoder.AutoencoderTask(patches, LABELLED)
    batch = task.batch(0)
    count = len(batch["noise"])
    assert len(batch["clean"]) == len(batch["score"]) == 2 * count
    assert (batch["score"][count:] == 0).all() and (batch["score"][:count] > 0).any()
    assert ((batch["source"] % count) == torch.arange(count)).all()
    wanted = task.schedule.noisy(batch["clean"][batch["target"]], batch["noise"], batch["time"])
    assert torch.allclose(batch["noisy"], wanted, atol=1e-5)
    assert (batch["source"] != batch["target"]).any()
    with pytest.raises(InputError, match="before the fracture"):
        autoencoder.train_autoencoder(replace(TINY, labels=0.3), RunOptions(tmp_path / "out", samples=run / "patches"))


def test_latent_of_the_other_state_gets_this_state_s_score(labelled: Path) -> None:
    task = autoencoder.AutoencoderTask(Patches(labelled / "patches"), LABELLED)
    seen: list[torch.Tensor] = []

    model = DiffusionAutoencoder(LABELLED.network)
    model.denoiser.guide.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = task.batch(1)
    task.loss(model, batch)
    z, (given,) = model.encoder(batch["clean"]), seen
    other = batch["source"] != batch["target"]
    assert torch.allclose(given[other, 0], batch["score"][batch["target"]][other])
    assert torch.allclose(given[~other, 0], z[batch["source"]][~other, 0])
    assert torch.allclose(given[:, 1:], z[batch["source"]][:, 1:])


def test_vertebra_of_interest_may_count_more(labelled: Path) -> None:
    patches = Patches(labelled / "patches")
    plain = autoencoder.AutoencoderTask(patches, LABELLED)
    focused = autoencoder.AutoencoderTask(patches, replace(LABELLED, focus=6.0))
    assert (plain.share == 1.0).all()
    assert float(focused.share.mean()) == pytest.approx(1.0)
    middle, corner = focused.share[0, 0, 16, 16], focused.share[0, 0, 0, 0]
    assert float(middle / corner) > 5.0


def test_change_is_that_between_the_states(labelled: Path) -> None:
    """A guide that draws the score as one grey in a box: its change is compared with the true one."""
    task = autoencoder.AutoencoderTask(Patches(labelled / "patches"), replace(LABELLED, change=1.0))
    model, batch = DiffusionAutoencoder(LABELLED.network), task.batch(2)

    class Box(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            out = torch.zeros(len(z), 1, 32, 32)
            out[:, :, 12:20, 12:20] = z[:, :1, None, None]
            return out

    model.denoiser.guide = Box()
    own, before = batch["clean"].chunk(2)
    drawn = torch.zeros_like(own)
    drawn[:, :, 12:20, 12:20] = batch["score"][: len(own), None, None, None]
    wanted = float((drawn - (own - before)).square().mean())
    total, parts = task.loss(model, batch)
    assert float(parts["change"].detach()) == pytest.approx(wanted, rel=1e-4)
    less, _ = autoencoder.AutoencoderTask(task.patches, LABELLED).loss(model, batch)
    assert float((total - less).detach()) == pytest.approx(wanted, rel=1e-3)


def test_run_begins_with_the_weights_of_another(labelled: Path, run: Path, tmp_path: Path) -> None:
    still = replace(LABELLED, loop=replace(LABELLED.loop, steps=1, learning_rate=0.0, decay=0.0))
    begun = autoencoder.train_autoencoder(
        still, RunOptions(tmp_path / "a", samples=labelled / "patches"), labelled / "run"
    )
    first = read_arrays(labelled / "run" / "average.safetensors")
    for name, value in begun.state_dict().items():
        assert np.allclose(value.numpy(), first[name], atol=1e-6)
    for folder, match in ((run, "layout"), (tmp_path, "no finished run")):
        with pytest.raises(InputError, match=match):
            autoencoder.train_autoencoder(still, RunOptions(tmp_path / "b", samples=labelled / "patches"), folder)


def test_edits_show_one_state_and_look_for_the_other(labelled: Path) -> None:
    task = autoencoder.AutoencoderTask(Patches(labelled / "patches"), replace(LABELLED, batch=16, edits=1.0))
    batch, schedule = task.batch(3), task.schedule
    edited = batch["time"] >= autoencoder._EDIT_TIME
    assert edited.any() and (~edited).any()
    assert (batch["source"] != batch["target"])[edited].all()
    share = torch.as_tensor(schedule.alpha_bar, dtype=torch.float32)[batch["time"]][:, None, None, None]
    found = (batch["noisy"] - (1 - share).sqrt() * batch["noise"]) / share.sqrt()
    near = share[:, 0, 0, 0] > 1e-3  # where the sum is not rounded away
    assert torch.allclose(found[near], batch["clean"][batch["target"]][near], atol=1e-3)
    # the noise itself, taken off, would leave what is shown
    seen = schedule.noise_between(batch["noisy"], batch["clean"][batch["source"]], batch["time"])
    assert seen[edited].std() == pytest.approx(1.0, abs=0.05)
    plain = torch.randn(4, 1, 8, 8)
    time, noise = torch.tensor([0, 10, 500, 999]), torch.randn(4, 1, 8, 8)
    assert torch.allclose(schedule.noise_between(schedule.noisy(plain, noise, time), plain, time), noise, atol=1e-3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dae")
    done = CliRunner().invoke(app, ["train", "dae", "--config", "tiny", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_tiny_configuration_trains_end_to_end(run: Path) -> None:
    lines = (run / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,seconds,loss,gradient,early,late"
    first, last = (float(line.split(",")[2]) for line in (lines[1], lines[-1]))
    assert last < first
    assert next((run / "samples").glob("*.png")).stat().st_size > 500
    halves = {name: read_arrays(run / f"{name}.safetensors") for name in ("encoder", "denoiser")}
    whole = read_arrays(run / "average.safetensors")
    assert sum(len(half) for half in halves.values()) == len(whole)
    assert (run / "encoder.safetensors").stat().st_size < 0.5 * (run / "average.safetensors").stat().st_size
    patches = Patches(run / "patches")
    assert len(patches) == TINY.patches.patches
    image = patches.content["image"]
    assert image.dtype == torch.int16 and image.shape[1:] == (128, 128)
    assert float(patches.content["graded_loss"].max()) > 0.1


def test_encoder_of_a_run(run: Path, tmp_path: Path) -> None:

    encoder = PatchEncoder.of_run(run)
    z = encoder.encode(Patches(run / "patches").content["image"][:3].numpy())
    assert z.shape == (3, TINY.network.latent) and np.isfinite(z).all()
    with pytest.raises(InputError, match="no trained encoder"):
        PatchEncoder.of_run(tmp_path)


def test_batches_depend_on_the_step_alone(run: Path) -> None:
    task = autoencoder.AutoencoderTask(Patches(run / "patches"), TINY)
    one, same, other = task.batch(3), task.batch(3), task.batch(4)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["noise"], other["noise"])
    assert one["clean"].abs().max() <= 1.0
    share = torch.as_tensor(task.schedule.alpha_bar)[one["time"]].float()[:, None, None, None]
    assert torch.allclose(one["noisy"], share.sqrt() * one["clean"] + (1 - share).sqrt() * one["noise"], atol=1e-5)


def test_changes_keep_the_middle_in_the_middle() -> None:
    hu = torch.full((16, 1, 128, 128), -100.0)
    hu[..., 60:68, 60:68] = 500.0
    out = autoencoder.moved(hu, np.random.default_rng(0))
    assert out.shape == hu.shape
    for one in out[:, 0]:
        bright = (one > 200).nonzero().float().mean(0)
        assert (bright - 63.5).abs().max() < 6.0
    assert len({float(one.sum()) for one in out}) == 16


@pytest.mark.parametrize("name", ["huge", "broken.json"])
def test_wrong_configurations_are_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text('{"network": {"size": 7}}')
    with pytest.raises(InputError, match=name):
        autoencoder.configured(str(path))
