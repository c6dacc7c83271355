"""What is lost when a patch is taken to noise and back: PSNR and SSIM for each pair of steps and solver.

Patches are of phantoms never trained on. The preset ``live`` is chosen from this table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from VertebralGradingLib.diffusion_autoencoder.method import loaded
from VertebralGradingLib.diffusion_autoencoder.parts import with_denoiser
from VertebralGradingLib.diffusion_autoencoder.patches import psnr
from VertebralGradingLib.diffusion_autoencoder.sampler import DECODERS, ddim_encode

ENCODE = (10, 20, 50, 100, 250)
DECODE = (("dpm++", 10), ("dpm++", 20), ("dpm++", 50), ("ddim", 10), ("ddim", 20), ("ddim", 50), ("ddim", 100))


def main() -> None:
    """Print the table."""
    from monai.metrics import SSIMMetric

    parser = argparse.ArgumentParser()
    parser.add_argument("--patches", type=int, default=16)
    parser.add_argument("--seed", type=int, default=9900)
    parser.add_argument("--encode", type=int, nargs="*", default=ENCODE)
    parser.add_argument("--refine", type=Path, help="training run of a noise predictor that can be shown a warp")
    args = parser.parse_args()
    system, version = loaded()
    if args.refine is not None:
        system = with_denoiser(system, args.refine)
    x = _patches(args.patches, args.seed, system)
    z = torch.from_numpy(system.encode_seen(x)).float()
    denoiser = system.denoiser
    assert denoiser is not None  # loaded() has it
    ssim = SSIMMetric(2, data_range=2.0, reduction="mean")
    print(f"model {version}, {len(x)} patches; rows: steps to noise (DDIM); columns: steps back; PSNR dB / SSIM")
    print(f"{'':8s}" + "".join(f"{f'{solver} {steps}':>16s}" for solver, steps in DECODE))
    spent: dict[tuple[str, int], float] = {}
    with torch.inference_mode():
        for steps in args.encode:
            start = time.perf_counter()
            noise = ddim_encode(lambda one, t: denoiser(one, t, z), x, steps)
            there = (time.perf_counter() - start) / len(x)
            cells = []
            for solver, back in DECODE:
                start = time.perf_counter()
                found = DECODERS[solver](lambda one, t: denoiser(one, t, z), noise, back)
                spent[solver, back] = (time.perf_counter() - start) / len(x)
                cells.append(f"{float(psnr(found, x).mean()):.1f} / {float(ssim(found, x).mean()):.3f}")
            print(f"{steps:<8d}" + "".join(f"{cell:>16s}" for cell in cells) + f"   there {there:.2f} s a patch")
    print("back, s " + "".join(f"{spent[key]:16.2f}" for key in DECODE))


def _patches(count: int, seed: int, system: object) -> torch.Tensor:
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.pool import draw_pool

    data = PhantomDataset(draw_pool(max(count // 3, 1), seed), seed, DatasetOptions(batch=count))
    return system.seen(np.asarray(data.batch(0)["image"][:, 0]))  # type: ignore[attr-defined, no-any-return]


if __name__ == "__main__":
    main()
