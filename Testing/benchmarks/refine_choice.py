"""How a warped picture is best redrawn, on held-out pairs: from which noise, in how many steps, how much of it.

    python Testing/benchmarks/refine_choice.py --run RUN --pairs FOLDER [--most 60]

The pairs must be of other spines than RUN was trained on; tables are made of others again.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from VertebralGradingLib.counterfactual.reading import flat_body
from VertebralGradingLib.diffusion_autoencoder import parts
from VertebralGradingLib.diffusion_autoencoder.method import loaded
from VertebralGradingLib.diffusion_autoencoder.refine import RefineConfig, refined
from VertebralGradingLib.evaluation.warps import likeness_of
from VertebralGradingLib.morphometry.genant import score_of_loss
from VertebralGradingLib.training.pairs import OWN, Pairs

STARTS, STEPS, SMOOTH_MM, SHARES = (200, 300, 400), (1, 3), (0.0, 1.5, 3.0), (0.5, 0.75, 1.0)


def main() -> None:
    """Print likeness and fine detail of every way, beside the warp itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--read", action="store_true", help="also read heights with the installed body network")
    args = parser.parse_args()
    pairs, system = Pairs(args.pairs), parts.with_denoiser(loaded()[0], args.run)
    chosen = np.random.default_rng(0).permutation(len(pairs))[: args.most]
    found: dict[str, list[tuple[float, ...]]] = {}
    for n in chosen:
        image, target, warped = (pairs.content[name][n].float().numpy() for name in ("image", "target", "warped"))
        body, true = (pairs.content[name][n].numpy() == OWN for name in ("warped_body", "target_body"))
        score = float(score_of_loss(float(pairs.content["loss"][n, 1].clamp_min(0.0))))
        healing = "to 0" if score < 0.5 else "to more"
        made = {"warp": warped}
        for start in STARTS:
            for steps in STEPS:
                whole = refined(system, image, warped, body, score, RefineConfig(start, steps, 4, 1.0, 0.0))
                for smooth, share in itertools.product(SMOOTH_MM, SHARES):
                    name = f"from {start} in {steps}, {share} of it, smoothed by {smooth} mm"
                    made[name] = warped + share * gaussian_filter(whole - warped, smooth)
        for name, picture in made.items():
            figures = likeness_of(picture, target, true)
            if args.read:
                read = flat_body(picture)
                heights = pairs.content["heights"][n].numpy()
                figures += (np.nan if read is None else float(np.abs(read.heights_mm - heights).mean()),)
            found.setdefault(f"{healing}, {name}", []).append(figures)
    for name, rows in sorted(found.items()):
        means = np.nanmean(np.array(rows), axis=0)
        text = f"SSIM {means[0]:.4f}, after 2 mm {means[1]:.4f}, detail {means[2]:.3f}"
        print(f"{name:58s} {len(rows):3d} pairs: {text}" + (f", read {means[3]:.2f} mm" if args.read else ""))


if __name__ == "__main__":
    main()
