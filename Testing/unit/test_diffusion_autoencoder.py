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
from VertebralGradingLib.diffusion_autoencoder.blocks import ResidualBlock  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.inference import FILES, MODEL, Autoencoder, box  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.latent import LatentGrader  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.network import (  # noqa: E402
    AutoencoderConfig,
    DiffusionAutoencoder,
)
from VertebralGradingLib.diffusion_autoencoder.patches import finer, psnr, to_hu, to_network  # noqa: E402
from VertebralGradingLib.errors import CentroidError, InputError, MethodError  # noqa: E402
from VertebralGradingLib.files import grade_files  # noqa: E402
from VertebralGradingLib.image.io import write_volume  # noqa: E402
from VertebralGradingLib.image.volume import Volume  # noqa: E402
from VertebralGradingLib.methods.table import METHODS, REQUIRES, load  # noqa: E402
from VertebralGradingLib.models import places, registry  # noqa: E402
from VertebralGradingLib.models.cards import Card  # noqa: E402
from VertebralGradingLib.models.weights import describe_file  # noqa: E402
from VertebralGradingLib.report.drawn import Drawn, figures, likeness_words  # noqa: E402
from VertebralGradingLib.report.pictures import difference_rgb  # noqa: E402
from VertebralGradingLib.segmentation.labels import interpret  # noqa: E402
from VertebralGradingLib.spine.points import write_markups  # noqa: E402
from VertebralGradingLib.spine.spine import build_spine  # noqa: E402
from VertebralGradingLib.training import autoencoder  # noqa: E402
from VertebralGradingLib.training.latent import Labelled, fit_grader  # noqa: E402

TINY = autoencoder.configured("tiny")
GUIDED = replace(TINY.network, places=2, guide=2)
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


def test_guiding_picture_reaches_the_noise() -> None:
    model = DiffusionAutoencoder(GUIDED)
    torch.nn.init.normal_(model.denoiser.last.weight)
    x, time, z = torch.randn(2, 1, 32, 32), torch.tensor([5, 900]), torch.randn(2, GUIDED.latent)
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
    alone = pipeline.grade(case.ct, build_spine(case.points))
    assert [one.state for one in report.findings] == [one.state for one in alone.findings]


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
             "--by", "dae", "--level", "L1", "--grade", "0", "--grade", "2.5", "--preset", "live",
             "--out", str(out)]  # fmt: skip
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "L1: score" in done.output and "grade 2.5 wanted" in done.output
    content = json.loads((out / "counterfactual.json").read_text())
    assert content["wanted"] == [0.0, 2.5] and len(content["reached"]) == 2
    strip = Image.open(out / "counterfactual.png")
    assert strip.size == (4 * 260, 2 * 278 + 4)
    assert min(strip.getpixel((100, 500))) == 255, "no black half"
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
    assert "dB" not in drawn.text and "Redrawn unchanged it is close to the CT" in drawn.text
    assert likeness_words(36.0) != likeness_words(31.0) != likeness_words(26.0) != likeness_words(20.0)
    assert "at grade 2.0" in drawn.text and "Caution: more than this vertebra changes." in drawn.text
    (tmp_path / "drawn.png").write_bytes(drawn.png)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "drawn.png")))
    assert picture.shape[:2] == (2 * 212 + 50, 2 * 192)
    assert picture[212 + 20 + 96, 192 + 96].tolist()[:3] == [255, 0, 0]
    page = figures([Drawn("<b>", b"x", "<script>")])
    assert "<script>" not in page and "&lt;b&gt;" in page


def test_vertebra_that_the_edge_may_cut_is_not_graded(installed: Path, case) -> None:
    spine = build_spine(case.points)
    low = spine.by_level["L2"].center[2]
    keep = np.array([case.ct.to_ras(np.array([0.0, 0.0, k]))[2] for k in range(case.ct.shape[2])]) > low - 10.0
    first = int(np.flatnonzero(keep)[0])
    affine = case.ct.affine.copy()
    affine[:3, 3] = case.ct.to_ras(np.array([0.0, 0.0, float(first)]))
    cut = Volume(case.ct.array[:, :, first:], affine)
    assert bool(cut.contains(spine.by_level["L2"].center))
    said = {f.level: f.evidence_of("dae") for f in pipeline.grade(cut, spine, methods=("morphometry", "dae")).findings}
    assert said["L2"] is None and said["T12"] is not None and said["L1"] is not None
    with pytest.raises(CentroidError, match="as a whole"):
        pipeline.explain(cut, spine, level="L2", kind="counterfactual", method="dae")


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


def test_a_method_that_cannot_run_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case
) -> None:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "none"))
    monkeypatch.setattr(registry, "_shipped", list)
    report = pipeline.grade(case.ct, build_spine(case.points), methods=("dae", "neighbours"))
    assert "not installed" in report.provenance["not_run"]["dae"]
    assert report.provenance["methods"] == ["morphometry", "neighbours"]
    assert all(finding.gradable for finding in report.findings)
    mask_alone = pipeline.grade(None, build_spine(case.points), interpret(case.labels, "verse"), methods=("dae",))
    assert mask_alone.findings
    assert set(mask_alone.provenance["not_run"]) == {"dae"}


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


def test_own_and_moved_latents_are_drawn_together(installed: Path) -> None:
    """Each step of a guided way back is one batch: all latents, and the own one again for every other."""
    system, _ = method.loaded()
    patch = np.clip(np.random.default_rng(0).normal(100, 200, (128, 128)), -300, 800).astype(np.float32)
    z = system.encode(patch[None])[0]
    latents = np.stack([z, z + 1.0, z - 0.5])
    x, time = torch.randn(3, 1, TINY.network.size, TINY.network.size), torch.full((3,), 40)
    system.strength = 3.0
    own, moved = system._predictor(np.repeat(z[None], 3, 0))(x, time), system._predictor(latents)(x, time)
    denoiser, batches = system.denoiser, []
    assert denoiser is not None
    denoiser.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    assert torch.allclose(system._guided(latents)(x, time), own + 3.0 * (moved - own), atol=1e-4)
    assert batches == [5]


def test_guiding_picture_is_drawn_once_for_all_steps(installed: Path) -> None:
    torch.manual_seed(0)
    model, grader = DiffusionAutoencoder(GUIDED), method.loaded()[0].grader
    torch.nn.init.normal_(model.denoiser.last.weight)
    system = Autoencoder(GUIDED, model.encoder, model.denoiser, grader)
    z, x = np.random.default_rng(0).normal(size=(2, GUIDED.latent)), torch.randn(2, 1, GUIDED.size, GUIDED.size)
    drawn: list[int] = []
    assert model.denoiser.guide is not None
    model.denoiser.guide.register_forward_pre_hook(lambda _, inputs: drawn.append(len(inputs[0])))
    predict = system._predictor(z)
    for at in (5, 900):
        time = torch.full((2,), at)
        assert torch.allclose(predict(x, time), model.denoiser(x, time, torch.from_numpy(z).float()), atol=1e-5)
    assert drawn == [2, 2, 2]  # once, and then for each of the two it is compared with


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
