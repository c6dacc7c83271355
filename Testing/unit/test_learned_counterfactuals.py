"""What a warp leaves: a corrected field, a redrawn picture, latents moved by a flow, heights that are measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

from Testing.tools.random_autoencoder import write_random_autoencoder  # noqa: E402
from VertebralGradingLib.counterfactual.corrected import Corrected  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder import parts  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.flow import FlowConfig, LatentFlow  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.head import HeadConfig, WarpHead, displaced, integrated  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig, NoisePredictor  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.refine import RefineConfig, near, refined, wanted_latent  # noqa: E402
from VertebralGradingLib.errors import InputError, MethodError  # noqa: E402
from VertebralGradingLib.models import places  # noqa: E402
from VertebralGradingLib.spine.reformation import rigid_grid  # noqa: E402
from VertebralGradingLib.training import autoencoder, pairs, warped, warped_tasks  # noqa: E402
from VertebralGradingLib.training.measured import Reader  # noqa: E402
from VertebralGradingLib.training.runs import RunOptions  # noqa: E402

PLAN = pairs.PairPlan(shards=1, spines=1, levels=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "_WAYS", 2)
        patch.setattr(pairs, "_BACK", 1)
        pairs.fill(PLAN, out)
    return out


@pytest.fixture(scope="module")
def drawn(folder: Path) -> pairs.Pairs:
    return pairs.Pairs(folder)


def test_pairs_show_what_a_warp_leaves(drawn: pairs.Pairs) -> None:
    content = {name: value.numpy().astype(np.float32) for name, value in drawn.content.items()}
    count = len(drawn)
    assert count >= 2 and (content["loss"].min(1) == 0.0).all() and (content["loss"].max(1) > 0.1).all()
    for n in range(count):
        own = [content[name][n] == pairs.OWN for name in ("body", "warped_body", "target_body")]
        dice = [2 * (mask & own[2]).sum() / (mask.sum() + own[2].sum()) for mask in own[:2]]
        assert dice[1] > 0.85 and dice[1] > dice[0]
        assert {0, pairs.OWN, pairs.ABOVE, pairs.BELOW} == set(np.unique(content["body"][n]).astype(int))
        rows, columns = np.nonzero(own[0])
        assert abs(rows.mean() - 63.5) < 6 and abs(columns.mean() - 63.5) < 6
        above = np.nonzero(content["body"][n] == pairs.ABOVE)[0].mean()
        assert above < rows.mean() < np.nonzero(content["body"][n] == pairs.BELOW)[0].mean()


def test_the_flow_of_a_pair_leads_to_where_its_picture_is_read(drawn: pairs.Pairs) -> None:
    image, picture = (drawn.content[name].float()[:, None] for name in ("image", "warped"))
    read = displaced(image, drawn.content["flow"].float())
    inner = np.s_[:, :, 24:-24, 24:-24]
    left = (read - picture)[inner].abs().median()
    assert left < 0.35 * (image - picture)[inner].abs().median() + 8.0  # noise is not read twice alike


def test_a_moved_patch_and_its_flow_stay_together(drawn: pairs.Pairs) -> None:
    rng = np.random.default_rng(0)
    matrix = autoencoder.placement(len(drawn), 128, rng)
    smooth = torch.nn.functional.avg_pool2d(drawn.content["image"].float()[:, None], 9, 1, 4)
    flow = torch.nn.functional.avg_pool2d(drawn.content["flow"].float(), 9, 1, 4)
    first = autoencoder.placed(displaced(smooth, flow), matrix)
    moved = warped_tasks.turned(autoencoder.placed(flow, matrix), matrix)
    second = displaced(autoencoder.placed(smooth, matrix), moved)
    inner = np.s_[:, :, 32:-32, 32:-32]
    assert (
        (first - second)[inner].abs().median() < 3.0 < (first - autoencoder.placed(smooth, matrix))[inner].abs().max()
    )


def test_a_velocity_is_integrated_without_folds() -> None:
    still = integrated(torch.zeros(1, 2, 64, 64))
    assert still.abs().max() == 0.0
    even = torch.zeros(1, 2, 64, 64)
    even[:, 0] = 3.0
    assert torch.allclose(integrated(even), even, atol=1e-4)
    rough = torch.nn.functional.avg_pool2d(torch.randn(1, 2, 70, 70, generator=torch.Generator().manual_seed(0)), 7, 1)
    move = integrated(14.0 * rough)
    down = 1.0 + move[0, 0].diff(dim=0)[:, :-1] / 2.0
    across = 1.0 + move[0, 1].diff(dim=1)[:-1] / 2.0
    turned = move[0, 0].diff(dim=1)[:-1] / 2.0 * move[0, 1].diff(dim=0)[:, :-1] / 2.0
    assert float((down * across - turned)[4:-4, 4:-4].min()) > 0.0
    assert move.abs().max() > 2.0


def test_a_new_head_corrects_nothing() -> None:
    head = WarpHead(HeadConfig(latent=8, width=8))
    out = head(torch.randn(2, 8, 64, 64), torch.randn(2, 8), torch.randn(2, 8))
    assert out.shape == (2, 2, 64, 64) and out.abs().max() == 0.0
    with pytest.raises(ValueError, match="no layout"):
        HeadConfig.from_dict({"latent": 8, "width": 9})


class _Still:
    """A field that moves nothing."""

    def source(self, points: Any) -> Any:
        return points


def test_a_correction_moves_along_the_picture_s_axes() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    grid = rigid_grid(np.array([10.0, -20.0, 30.0]), turn, (128, 128, 1), 1.0)
    move = np.zeros((2, 64, 64))
    move[0], move[1] = 4.0, -1.5
    points = grid.points()
    there = Corrected(_Still(), grid, move).source(points)  # type: ignore[arg-type]
    down, across = grid.origin[1] - grid.origin[0], grid.column_step[0]
    assert np.allclose(there - points, 4.0 * down - 1.5 * across, atol=1e-9)
    line = np.arange(64) * 2.0 + 0.5  # the middle of every second pair of rows
    move[0] = line[:, None]
    moved = Corrected(_Still(), grid, move).source(points)  # type: ignore[arg-type]
    along = ((moved - points) @ down)[4:-4, 4:-4, 0]
    assert np.allclose(along, np.arange(4.0, 124.0)[:, None], atol=1e-6)
    aside = points + 7.0 * grid.depth_step[0]
    beside = Corrected(_Still(), grid, move).source(aside)  # type: ignore[arg-type]
    assert np.allclose(beside - aside, moved - points, atol=1e-9)


def test_the_flow_goes_back_the_way_it_came() -> None:
    torch.manual_seed(0)
    flow = LatentFlow(FlowConfig(latent=12, kept=8, layers=4, width=16))
    z = torch.randn(50, 12) * torch.linspace(0.5, 3.0, 12)
    flow.fit_directions(z)
    for layer in flow.layers:
        torch.nn.init.normal_(layer[-1].weight, std=0.3)
    score = torch.linspace(0.0, 3.0, 50)
    left, _ = flow(z, score)
    assert torch.allclose(flow.back(left, score, z), z, atol=1e-4)
    one = z[0].numpy()
    assert np.allclose(flow.moved(one, 1.0, 1.0), one, atol=1e-4)
    other = flow.moved(one, 0.0, 3.0)
    assert np.abs(other - one).max() > 0.01
    away = torch.from_numpy((other - one).astype(np.float32))
    assert (away - (away @ flow.basis.T) @ flow.basis).abs().max() < 1e-4  # across the kept directions nothing moves

    def kept(at: Any) -> Any:
        return flow((at @ flow.basis + flow.mean)[None], score[:1])[0][0]

    slopes = torch.autograd.functional.jacobian(kept, torch.zeros(8))
    with torch.no_grad():
        told = float(flow(flow.mean[None], score[:1])[1][0])
    assert float(torch.linalg.slogdet(slopes)[1]) == pytest.approx(told, abs=1e-3)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    write_random_autoencoder(models)
    return models


@pytest.fixture
def home(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(places.ENVIRONMENT, str(installed))
    return installed


def test_a_blind_predictor_sees_what_it_saw(home: Path) -> None:
    network = warped.installed_network()
    wide = warped.begun(replace(network, warped=1), None)
    plain = warped.begun(network, None)
    x, z = torch.randn(2, 1, network.size, network.size), torch.randn(2, network.latent)
    time = torch.tensor([10, 700])
    with torch.no_grad():
        assert torch.allclose(wide.denoiser(x, time, z), plain.denoiser(x, time, z), atol=1e-5)
    with pytest.raises(InputError, match="another layout"):
        warped.begun(replace(network, width=2 * network.width, warped=1), None)


@pytest.mark.parametrize("stage", warped.STAGES)
def test_every_stage_trains_and_goes_on(
    stage: str, home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = warped.configured(stage, warped.installed_network(), PLAN)
    config = replace(config, batch=2, loop=replace(config.loop, steps=3, log_every=1, samples=1, snapshots=0))
    monkeypatch.setattr(Reader, "of_file", lambda path, device: Reader(_Bright(), "none"))
    if stage == "measured":
        with pytest.raises(InputError, match="body network"):
            warped.train_warped(config, RunOptions(tmp_path / "run", samples=folder))
    warped.train_warped(config, RunOptions(tmp_path / "run", samples=folder), reader=tmp_path)
    rows = (tmp_path / "run" / "curve.csv").read_text().splitlines()
    assert len(rows) == 4
    before = (tmp_path / "run" / "average.safetensors").read_bytes()
    warped.train_warped(config, RunOptions(tmp_path / "run", samples=folder), reader=tmp_path)
    assert (tmp_path / "run" / "average.safetensors").read_bytes() == before  # it was done
    system = Autoencoder.load()
    system.labelled = True
    patch = np.full((128, 128), 40.0, dtype=np.float32)
    if stage == "head":
        move = parts.correction(
            system, parts.head_of(tmp_path / "run"), patch, patch, np.zeros((128, 128)), np.zeros((2, 128, 128)), 2.0
        )
        assert move.shape == (2, 64, 64) and np.isfinite(move).all()
    elif stage == "flow":
        assert np.isfinite(parts.flow_of(tmp_path / "run").moved(system.encode(patch[None])[0], 0.0, 3.0)).all()
    else:
        seeing = parts.with_denoiser(system, tmp_path / "run")
        seeing.labelled = True
        body = np.zeros((128, 128), dtype=bool)
        body[50:78, 50:80] = True
        out = refined(seeing, patch, patch, body, 2.0, RefineConfig(steps=2, draws=2))
        far = near(body) == 0.0
        assert far.any() and (out[far] == 40.0).all() and np.abs(out - 40.0).max() > 0.0
        assert np.abs(out - refined(seeing, patch, patch, body, 2.0, RefineConfig(steps=2, draws=2))).max() == 0.0
        with pytest.raises(InputError, match="1 to 8 steps"):
            refined(seeing, patch, patch, body, 2.0, RefineConfig(steps=9))
    with pytest.raises(InputError, match="holds no"):
        parts.head_of(tmp_path)


def test_a_system_that_cannot_be_shown_a_warp_says_so(home: Path) -> None:
    patch, body = np.zeros((128, 128), dtype=np.float32), np.ones((128, 128), dtype=bool)
    with pytest.raises(MethodError, match="cannot be shown"):
        refined(Autoencoder.load(), patch, patch, body, 1.0)


def test_an_unknown_stage() -> None:
    with pytest.raises(InputError, match="stage"):
        warped.configured("more", AutoencoderConfig())


def test_the_wanted_latent_has_the_wanted_score() -> None:
    z = torch.randn(3, 5)
    out = wanted_latent(z, torch.tensor([0.0, 1.0, 2.0]))
    assert out[:, 0].tolist() == [0.0, 1.0, 2.0] and torch.equal(out[:, 1:], z[:, 1:])


class _Bright(torch.nn.Module):
    """Takes what is brighter than 100 HU for the body."""

    def forward(self, hu: Any) -> Any:
        return ((hu - 100.0) / 10.0).expand(-1, 4, -1, -1, -1)


def test_heights_are_read_and_can_be_learned_from() -> None:
    body = torch.zeros(1, 128, 128, dtype=torch.bool)
    body[:, 52:76, 48:80] = True
    hu = torch.where(body, 300.0, -50.0)[:, None].float()
    reader = Reader(_Bright(), "")
    assert float(reader.error_mm(hu, body)) < 0.01
    lower = hu.clone()
    lower[:, :, 52:56] = -50.0
    assert float(reader.error_mm(lower, body)) == pytest.approx(4.0, abs=0.01)
    soft = hu.clone()
    soft[:, :, 52:56] = 95.0
    soft.requires_grad_(True)
    reader.error_mm(soft, body).backward()
    assert soft.grad is not None and float(soft.grad[:, :, 52:56, 50:78].sum()) < 0.0  # brighter there is better


def test_the_predictor_is_given_two_more_channels() -> None:
    config = AutoencoderConfig.from_dict({**autoencoder.configured("tiny").network.to_dict(), "warped": 1})
    plain = replace(config, warped=0)
    widths = [NoisePredictor(one).first.weight.shape[1] for one in (plain, config)]
    assert widths[1] - widths[0] == 2 * config.fold**2
