"""The diffusion autoencoder from training to counterfactual, with weights that need not be good."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

from rendering.analytic import analytic_spine, box_spine_ct, grid_around  # noqa: E402
from tools.random_autoencoder import write_random_autoencoder  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from VertebralGradingLib import pipeline  # noqa: E402
from VertebralGradingLib.cli import app  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder import method  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.inference import FILES, MODEL, Autoencoder, box  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.latent import LatentGrader  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.network import (  # noqa: E402
    AutoencoderConfig,
    DiffusionAutoencoder,
    ResidualBlock,
)
from VertebralGradingLib.diffusion_autoencoder.patches import finer, psnr, to_hu, to_network  # noqa: E402
from VertebralGradingLib.errors import CentroidError, InputError, MethodError  # noqa: E402
from VertebralGradingLib.files import grade_files  # noqa: E402
from VertebralGradingLib.image_io import write_volume  # noqa: E402
from VertebralGradingLib.methods import METHODS, REQUIRES, load  # noqa: E402
from VertebralGradingLib.models import places, registry  # noqa: E402
from VertebralGradingLib.models.cards import Card  # noqa: E402
from VertebralGradingLib.models.weights import describe_file, read_arrays  # noqa: E402
from VertebralGradingLib.pictures import difference_rgb  # noqa: E402
from VertebralGradingLib.points import write_markups  # noqa: E402
from VertebralGradingLib.report.drawn import Drawn, figures  # noqa: E402
from VertebralGradingLib.spine import build_spine  # noqa: E402
from VertebralGradingLib.training import autoencoder  # noqa: E402
from VertebralGradingLib.training.latent import Labelled, fit_grader  # noqa: E402
from VertebralGradingLib.training.patches import Patches  # noqa: E402

TINY = autoencoder.configured("tiny")
LEVELS = ("T12", "L1", "L2")
HEIGHTS = np.array([[24.0, 22.0, 25.0], [18.0, 19.0, 25.0], [26.0, 24.0, 27.0]])


def parameters(config: AutoencoderConfig) -> float:
    with torch.device("meta"):
        return sum(one.numel() for one in DiffusionAutoencoder(config).parameters()) / 1e6


def test_table_of_needs_is_true() -> None:
    assert {name: load(name).requires for name in METHODS} == REQUIRES


def test_sizes_are_within_their_limits() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    assert parameters(autoencoder.configured("default").network) <= 9.0
    small = autoencoder.configured("small").network
    assert parameters(small) <= 1.5
    with torch.device("meta"):
        model = DiffusionAutoencoder(small)
        with FlopCounterMode(display=False) as counter:
            model.denoiser(torch.zeros(1, 1, 64, 64), torch.zeros(1), torch.zeros(1, small.latent))
    assert counter.get_total_flops() <= 0.4e9
    paper = autoencoder.configured("paper128").network
    assert (paper.width, paper.denoiser, paper.encoder) == (128, (1, 1, 2, 3, 4), (1, 1, 2, 3, 4, 4))


def test_new_network_predicts_nothing_and_listens_after_training_began() -> None:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(TINY.network)
    x, time = torch.randn(2, 1, 32, 32), torch.tensor([5, 900])
    assert model(x, time, x).abs().max() == 0  # the last layer starts at zero
    torch.nn.init.normal_(model.denoiser.last.weight)
    for block in model.denoiser.modules():
        if isinstance(block, ResidualBlock):
            torch.nn.init.normal_(block.conv2.weight, std=0.1)
    z = torch.randn(2, TINY.network.latent)
    first = model.denoiser(x, time, z)
    assert first.shape == x.shape
    assert not torch.allclose(first, model.denoiser(x, time + 50, z))
    assert not torch.allclose(first, model.denoiser(x, time, z + 1.0))


def test_latent_may_be_tied_to_places() -> None:
    config = AutoencoderConfig.from_dict({**TINY.network.to_dict(), "places": 2})
    torch.manual_seed(0)
    model = DiffusionAutoencoder(config)
    plain = DiffusionAutoencoder(AutoencoderConfig.from_dict({**config.to_dict(), "places": 0}))
    x = torch.zeros(1, 1, config.size, config.size)
    x[..., 8:14, 8:14] = 1.0

    @torch.no_grad()
    def change(one: DiffusionAutoencoder) -> float:
        """How far a latent goes when a square moves, by how far it goes when it vanishes."""
        here, there, none = (one.encoder(image) for image in (x, torch.roll(x, (6, 6), (2, 3)), torch.zeros_like(x)))
        return float((here - there).norm() / (here - none).norm())

    assert change(model) > 3.0 * change(plain)
    assert plain.encoder.places is None and plain.denoiser.guide is None
    assert AutoencoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert autoencoder.configured("paper128").network.places == 0 and autoencoder.configured("paper128").weight == 1.0


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


LABELLED = replace(
    TINY,
    network=replace(TINY.network, places=2, guide=2),
    patches=replace(TINY.patches, shards=1, before=1),
    loop=replace(TINY.loop, steps=3),
    guide=1.0,
    labels=0.3,
)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    autoencoder.train_autoencoder(LABELLED, out / "run", patches=out / "patches")
    return out


def test_training_with_labels(labelled: Path, run: Path, tmp_path: Path) -> None:
    rows = (labelled / "run" / "curve.csv").read_text().splitlines()
    assert {"score", "apart", "guide"} <= set(rows[0].split(","))
    patches = Patches(labelled / "patches")
    assert patches.before is not None
    broken = patches.graded_loss > 0.1
    change = (patches.image.int() - patches.before.int()).abs().float().mean((1, 2))
    assert broken.any() and change[broken].min() > 3.0 and change[patches.graded_loss == 0].max() == 0.0
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
        autoencoder.train_autoencoder(replace(TINY, labels=0.3), tmp_path / "out", patches=run / "patches")


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
    begun = autoencoder.train_autoencoder(still, tmp_path / "a", patches=labelled / "patches", start=labelled / "run")
    first = read_arrays(labelled / "run" / "average.safetensors")
    for name, value in begun.state_dict().items():
        assert np.allclose(value.numpy(), first[name], atol=1e-6)
    for folder, match in ((run, "layout"), (tmp_path, "no finished run")):
        with pytest.raises(InputError, match=match):
            autoencoder.train_autoencoder(still, tmp_path / "b", patches=labelled / "patches", start=folder)


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


def test_guiding_picture_reaches_the_noise() -> None:
    model = DiffusionAutoencoder(LABELLED.network)
    torch.nn.init.normal_(model.denoiser.last.weight)
    x, time, z = torch.randn(2, 1, 32, 32), torch.tensor([5, 900]), torch.randn(2, LABELLED.network.latent)
    assert model.denoiser.guide is not None
    drawn = model.denoiser.guide(z)
    assert drawn.shape == x.shape
    assert torch.allclose(model.denoiser(x, time, z), model.denoiser(x, time, z, drawn), atol=1e-6)
    assert not torch.allclose(model.denoiser(x, time, z), model.denoiser(x, time, z, drawn + 1.0))


def test_layout_survives_json_and_nonsense_is_refused() -> None:
    config = autoencoder.configured("default").network
    assert AutoencoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    for wrong in (
        {"widht": 3},
        {"denoiser": "12"},
        {"width": 7},
        {"size": 100},
        {"groups": 0},
        {"denoiser": []},
        [],
        {"spacing_mm": 1.5},
        {"size": 256},
        {"dropout": 5},
    ):
        with pytest.raises(ValueError):
            AutoencoderConfig.from_dict(wrong)


def test_window_and_pixels() -> None:
    hu = torch.tensor([-1000.0, -300.0, 250.0, 800.0, 3000.0]).reshape(1, 1, 1, 5).expand(1, 1, 5, 5)
    x = to_network(hu, 5, 1.0)
    assert x[0, 0, 0].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert to_hu(x)[0, 0, 0].tolist() == [-300.0, -300.0, 250.0, 800.0, 800.0]
    ramp = torch.arange(128.0).reshape(1, 1, 1, 128).expand(1, 1, 128, 128) * 4.0
    coarse = to_network(ramp, 64, 2.0)
    again = to_hu(finer(coarse, 2.0))
    assert (again - ramp)[..., 4:-4].abs().max() < 0.5  # nothing moved by a half pixel
    assert to_network(ramp, 112, 1.0).shape[-1] == 112
    assert float(psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.2))) == pytest.approx(20.0)


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
    assert patches.image.dtype == torch.int16 and patches.image.shape[1:] == (128, 128)
    assert float(patches.graded_loss.max()) > 0.1


def test_encoder_of_a_run(run: Path, tmp_path: Path) -> None:
    from VertebralGradingLib.diffusion_autoencoder.inference import PatchEncoder

    encoder = PatchEncoder.of_run(run)
    z = encoder.encode(Patches(run / "patches").image[:3].numpy())
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


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the right form with random weights, in a folder of imported models."""
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "models"))
    method._LOADED.clear()
    return write_random_autoencoder(tmp_path / "models")


def _write_card(folder: Path, config: dict[str, object]) -> None:
    files = tuple(describe_file(folder / name) for name in FILES.values())
    card = Card(MODEL, "99.0.0", "dae", "A test.", "0.0.1", files, "Apache-2.0", "A test.", "Nothing.", (), config)
    (folder / "card.json").write_bytes(card.to_json())


@pytest.fixture(scope="module")
def case() -> object:
    spine = analytic_spine(LEVELS, HEIGHTS, sagittal_deg=[6, 0, -6], origin=(12, -30, 200))
    return box_spine_ct(spine, *grid_around(spine, margin_mm=30))


def test_grades_through_the_pipeline(installed: Path, case) -> None:
    report = pipeline.grade(case.ct, build_spine(case.points), methods=("morphometry", "dae"))
    for finding in report.findings:
        said = finding.evidence_of("dae")
        assert said is not None and said.score is not None and said.grade_interval is not None
        assert 0 <= said.grade_interval[0] <= said.score <= said.grade_interval[1] <= 3
        assert said.quantities["model"] == "99.0.0"
    assert report.provenance["methods"] == ["morphometry", "dae"]
    first = pipeline.grade(case.ct, build_spine(case.points), methods=("dae",)).findings[0]
    assert first.primary_method == "dae"


def test_counterfactual_of_the_own_grade_changes_nothing(installed: Path, case) -> None:
    spine = build_spine(case.points)
    system, _ = method.loaded()
    patch = np.clip(np.random.default_rng(0).normal(100, 200, (128, 128)), -300, 800).astype(np.float32)
    score = float(system.grader.score(system.encode(patch[None])[0]))
    told: list[tuple[int, int]] = []
    same, other = system.counterfactuals(
        patch, [score, 3.0 - score], project=False, progress=lambda done, total: told.append((done, total))
    )
    assert 0 < score < 3 and abs(score - 1.5) > 0.1
    assert np.abs(same.difference).max() < 0.5
    assert np.abs(other.difference).max() > 5.0
    assert same.score == same.wanted == pytest.approx(score)
    assert told[-1] == (70, 70) and [done for done, _ in told] == list(range(1, 71))
    assert other.original.shape == other.changed.shape == (128, 128)
    again = system.counterfactuals(patch, [3.0 - score], project=False)[0]  # the noise is remembered
    assert np.array_equal(again.changed, other.changed)
    explained = pipeline.explain(case.ct, spine, level="L1", kind="counterfactual", method="dae", grades=[0, 3])
    assert explained["changed"].shape == (2, 128, 128)
    assert explained["wanted"] == [0.0, 3.0]


def test_warnings_say_what_else_changed() -> None:
    from VertebralGradingLib.diffusion_autoencoder.inference import _described

    decoded = np.full((128, 128), 100.0, dtype=np.float32)
    inside = box(128)
    assert inside.sum() == 30 * 44
    quiet = decoded + 200.0 * inside
    told = _described(decoded, decoded, quiet, inside, (0.0, 2.0, 2.0))
    assert told.warnings == () and told.outside_share == 0.0 and told.new_air_mm2 == 0.0
    loud = quiet.copy()
    loud[:40, :40] = -300.0
    told = _described(decoded, decoded, loud, inside, (0.0, 2.0, 2.0))
    assert told.warnings == ("new_air", "changes_elsewhere") and told.new_air_mm2 == 1600.0


def test_command_writes_strip_and_animation(installed: Path, case, tmp_path: Path) -> None:
    from PIL import Image

    write_volume(case.ct, tmp_path / "ct.nii.gz")
    write_markups(case.points, tmp_path / "points.mrk.json")
    out = tmp_path / "out"
    asked = ["counterfactual", str(tmp_path / "ct.nii.gz"), "--centroids", str(tmp_path / "points.mrk.json"),
             "--level", "L1", "--grade", "0", "--grade", "2.5", "--preset", "live", "--out", str(out)]  # fmt: skip
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "L1: score" in done.output and "grade 2.5 wanted" in done.output
    content = json.loads((out / "counterfactual.json").read_text())
    assert content["wanted"] == [0.0, 2.5] and len(content["reached"]) == 2
    strip = Image.open(out / "counterfactual.png")
    assert strip.size == (4 * 258, 2 * 258)
    moving = Image.open(out / "animation.png")
    assert moving.n_frames == 2
    assert np.load(out / "counterfactual.npz")["changed"].shape == (2, 128, 128)


def test_report_shows_fractured_vertebrae_at_grade_0(installed: Path, case, tmp_path: Path) -> None:
    ct, points = tmp_path / "ct.nii.gz", tmp_path / "c.mrk.json"
    write_volume(case.ct, ct)
    write_markups(list(case.points), points)
    report = grade_files(ct, points, None, tmp_path / "out", methods=("morphometry", "dae"))
    shown = [f.level for f in report.findings if any((item.grade or 0) >= 1 for item in f.evidence)]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "L1" in shown
    for level in LEVELS:
        assert page.count(f'alt="{level} at another grade"') == (level in shown)
    assert "Each method" in page and "Diffusion autoencoder" in page
    assert "Drawn by a network, not measured" in page
    alone = grade_files(ct, points, None, tmp_path / "alone")
    page = (tmp_path / "alone" / "report.html").read_text(encoding="utf-8")
    assert "at another grade" not in page and "Each method" not in page
    assert len(alone.findings) == 3


def test_pictures_of_a_counterfactual(tmp_path: Path) -> None:
    flat = np.zeros((128, 128))
    bright = flat.copy()
    bright[60:68, 60:68] = 300.0
    rgb = difference_rgb(bright - flat)
    assert rgb[64, 64].tolist() == [255, 0, 0] and rgb[0, 0].tolist() == [255, 255, 255]
    assert difference_rgb(flat - bright)[64, 64].tolist() == [0, 0, 255]
    about = {"wanted": 2.0, "score": 0.3, "reached": 1.9, "psnr_db": 31.2, "outside_share": 0.4,
             "warnings": ["changes_elsewhere"]}  # fmt: skip
    drawn = Drawn.of_pictures("L1", {"original": flat, "decoded": flat, "changed": bright}, about)
    assert "at grade 2.0" in drawn.text and "Caution: more than this vertebra changes." in drawn.text
    (tmp_path / "drawn.png").write_bytes(drawn.png)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "drawn.png")))
    assert picture.shape[:2] == (2 * 212, 2 * 192)
    assert picture[212 + 20 + 96, 192 + 96].tolist()[:3] == [255, 0, 0]
    page = figures([Drawn("<b>", b"x", "<script>")])
    assert "<script>" not in page and "&lt;b&gt;" in page


def test_binary_counterfactual_crosses_the_hyperplane(installed: Path, case) -> None:
    spine = build_spine(case.points)
    seen = pipeline.explain(case.ct, spine, level="L1", kind="counterfactual", method="dae", binary=True)
    system, _ = method.loaded()
    here = system.grader.calibration.distances(seen["score"])
    there = system.grader.calibration.distances(seen["wanted"][0])
    assert len(seen["wanted"]) == 1 and seen["changed"].shape[0] == 1
    edge = system.grader.calibration.grades(0.0)
    assert (seen["score"] - edge) * (seen["wanted"][0] - edge) <= 0
    if 0 < seen["score"] < 3 and 0 < seen["wanted"][0] < 3:
        assert float(there) == pytest.approx(-float(here), abs=0.02)
    with pytest.raises(InputError, match="option"):
        pipeline.explain(case.ct, spine, level="L1", kind="counterfactual", method="dae", binary=1)


def test_bad_wishes_are_typed_errors(installed: Path, case) -> None:
    spine = build_spine(case.points)

    def explain(**options: object) -> None:
        pipeline.explain(case.ct, spine, method="dae", **{"level": "L1", "kind": "counterfactual", **options})  # type: ignore[arg-type]

    for grades in ([4.0], [-0.1], [float("nan")]):
        with pytest.raises(InputError, match="between 0 and 3"):
            explain(grades=grades)
    for grades in ([], 2, None, ["high"], "12", [True], [1.0] * 100):
        with pytest.raises(InputError, match="list of numbers"):
            explain(grades=grades)
    with pytest.raises(InputError, match="option"):
        explain(project="false")
    with pytest.raises(InputError, match="preset"):
        explain(preset="slow")
    with pytest.raises(MethodError, match="Unknown options"):
        explain(colour="red")
    with pytest.raises(MethodError, match="heights"):
        explain(kind="heights")
    with pytest.raises(CentroidError):
        explain(level="T1")
    with pytest.raises(MethodError, match="needs a CT"):
        method.LatentGrading().grade(pipeline.Study(None, spine, None))
    with pytest.raises(MethodError, match="needs a CT"):
        method.LatentGrading().check(None)
    with pytest.raises(InputError, match="128 x 128"):
        method.loaded()[0].counterfactuals(np.zeros((64, 64)), [1.0])


def test_damaged_and_missing_models_are_told(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_card(installed, {"network": TINY.network.to_dict() | {"width": 24}, "calibration": "poly3"})
    with pytest.raises(MethodError, match="does not fit"):
        method.loaded()
    (installed / FILES["encoder"]).write_bytes(b"nothing")
    with pytest.raises(MethodError):
        method.loaded()
    monkeypatch.setenv(places.ENVIRONMENT, str(installed.parent.parent / "empty"))
    monkeypatch.setattr(registry, "_shipped", list)
    with pytest.raises(MethodError, match="not installed"):
        method.loaded()


def test_what_is_missing_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case
) -> None:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "none"))
    monkeypatch.setattr(registry, "_shipped", list)
    monkeypatch.setattr(pipeline, "prepare", lambda *args: pytest.fail("bodies were searched"))
    with pytest.raises(MethodError, match="not installed"):
        pipeline.grade(case.ct, build_spine(case.points), methods=("morphometry", "dae"))


def test_strength_takes_the_change_further(installed: Path) -> None:
    system, _ = method.loaded()
    patch = np.clip(np.random.default_rng(0).normal(100, 200, (128, 128)), -300, 800).astype(np.float32)
    near = [float(system.grader.score(system.encode(patch[None])[0])) + 0.001]  # no image is cut to the window yet
    plain = system.counterfactuals(patch, near, project=False)
    system.strength = 3.0
    strong = system.counterfactuals(patch, near, project=False)
    assert np.allclose(plain[0].decoded, strong[0].decoded, atol=0.5)  # the own latent is drawn as it is
    assert np.abs(strong[0].difference).mean() > 1.5 * np.abs(plain[0].difference).mean() > 0
    content = json.loads((installed / "card.json").read_text())["config"]
    _write_card(installed, {**content, "strength": 99.0})
    method._LOADED.clear()
    with pytest.raises(MethodError, match="does not fit"):
        method.loaded()


def test_labelled_latents_move_along_their_score() -> None:
    rng = np.random.default_rng(0)
    grade = rng.choice([0, 2, 3], 120)
    z = rng.normal(size=(120, 5)) + 0.6 * grade[:, None]
    data = Labelled(z, grade, [f"s{k % 20}" for k in range(120)], rng.uniform(1, 17, 120))
    grader = fit_grader(data, draws=2, strength=0.01, first=True)
    moved = grader.moved(z[0], 2.0, project=False)
    assert np.array_equal(moved[1:], z[0][1:]) and moved[0] != z[0][0]
    assert float(grader.score(moved)) == pytest.approx(2.0, abs=1e-6)
    again = LatentGrader.from_arrays(grader.to_arrays(), "poly3")
    assert np.array_equal(again.way, grader.way)
    with pytest.raises(ValueError):
        LatentGrader.from_arrays({**grader.to_arrays(), "way": np.zeros(3)}, "poly3")


def test_grader_alone_draws_no_images(installed: Path) -> None:
    system = Autoencoder.load(decode=False)
    assert system.encode(np.zeros((2, 128, 128))).shape == (2, TINY.network.latent)
    with pytest.raises(MethodError, match="not loaded"):
        system.counterfactuals(np.zeros((128, 128)), [1.0])
