"""The sampler against what is known exactly, and against diffusers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from VertebralGradingLib.diffusion_autoencoder.sampler import (  # noqa: E402
    DECODERS,
    Schedule,
    ddim_decode,
    ddim_encode,
    dpm_decode,
)

SCHEDULE = Schedule()
MEAN, SD = 0.2, 0.25


def gaussian(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """The exact predictor for images whose pixels are normal with a known mean and deviation."""
    share = torch.as_tensor(SCHEDULE.alpha_bar)[time].float().reshape(-1, *[1] * (x.dim() - 1))
    return (1 - share).sqrt() * (x - share.sqrt() * MEAN) / (share * SD**2 + 1 - share)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_schedule_is_the_published_one() -> None:
    assert SCHEDULE.alpha_bar[0] == pytest.approx(1 - 1e-4)
    assert SCHEDULE.alpha_bar[-1] == pytest.approx(4.0358e-05, rel=1e-3)  # Ho et al. 2020
    assert SCHEDULE.evenly(100).tolist() == list(range(0, 1000, 10))
    with pytest.raises(ValueError, match="1 to 1000"):
        SCHEDULE.evenly(0)
    with pytest.raises(ValueError, match="1 to 999"):
        dpm_decode(gaussian, noise(), 1000)
    x = SCHEDULE.noisy(torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), torch.tensor([0, 999]))
    assert x.flatten().tolist() == pytest.approx(np.sqrt(SCHEDULE.alpha_bar[[0, 999]]).tolist(), rel=1e-5)


@pytest.mark.parametrize("solver", sorted(DECODERS))
def test_decoders_reach_the_exact_image(solver: str) -> None:
    """Of a normal distribution the flow from noise to image is known: mean + sd * noise."""
    start = noise()
    exact = MEAN + SD * start
    error = [
        float((DECODERS[solver](gaussian, start, steps, clip=False) - exact).abs().max()) for steps in (10, 40, 200)
    ]
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.03


def test_second_order_beats_first_order() -> None:
    exact = MEAN + SD * noise()
    first, second = (float((decode(gaussian, noise(), 40, clip=False) - exact).abs().mean())
                     for decode in (ddim_decode, dpm_decode))  # fmt: skip
    assert second < 0.5 * first


def test_encoding_finds_the_noise_that_an_image_comes_from() -> None:
    image = (MEAN + SD * noise()).clamp(-1, 1)
    found = ddim_encode(gaussian, image, 250)
    assert (found - (image - MEAN) / SD).abs().max() < 0.1
    away = {steps: float((ddim_decode(gaussian, found, steps) - image).abs().mean()) for steps in (50, 100, 250)}
    assert away[250] < away[100] < away[50] < 0.05
    assert (dpm_decode(gaussian, found, 50) - image).abs().mean() < away[50]


def test_clipping_keeps_the_clean_image_in_range() -> None:
    def far(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return -3.0 * torch.ones_like(x)

    for decode in DECODERS.values():
        assert decode(far, noise(), 10).abs().max() <= 1.0
        assert decode(far, noise(), 10, clip=False).abs().max() > 1.0


def test_steps_are_told() -> None:
    told: list[tuple[int, int]] = []
    for run in (ddim_encode, ddim_decode, dpm_decode):
        told.clear()
        run(gaussian, noise(), 3, progress=lambda done, steps: told.append((done, steps)))
        assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_few_step_decoder_agrees_with_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DPMSolverMultistepScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        lower_order_final=False,
        final_sigmas_type="zero",
        timestep_spacing="linspace",
    )
    theirs.set_timesteps(steps)
    x = noise()
    for time in theirs.timesteps:
        x = theirs.step(gaussian(x, torch.full((len(x),), int(time))), time, x).prev_sample
    ours = dpm_decode(gaussian, noise(), steps, clip=False)
    assert (ours - x).abs().max() < 1e-4


@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_agrees_with_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True, set_alpha_to_one=True
    )
    theirs.set_timesteps(steps)
    x = noise()
    for time in theirs.timesteps:
        x = theirs.step(
            gaussian(x, torch.full((len(x),), int(time))), int(time), x, use_clipped_model_output=True
        ).prev_sample
    assert (ddim_decode(gaussian, noise(), steps) - x).abs().max() < 1e-4
