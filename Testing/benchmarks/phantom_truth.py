"""Stated heights of synthetic bodies against heights measured in body masks rendered at 0.5 mm, all deformities.

Each mask is rendered on voxels turned and shifted at random, several times, averaged over the 1 mm samples of a body
block that leans at random, and measured. Which way is front is given, exactly and again 3.4 degrees off (standard
deviation): the heights of a body that is lower on one side depend on it. Nothing is asserted here.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from _common import can_draw

if TYPE_CHECKING:
    from VertebralGradingLib.image.volume import Volume
    from VertebralGradingLib.morphometry.body import BodyMask

FRONT_SD = 0.06
"""Radians."""


def main() -> None:
    """Print how far measured heights are from stated ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vertebrae", type=int, default=8)
    parser.add_argument("--poses", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7000)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    if not can_draw():
        return
    import torch

    errors: dict[int, np.ndarray] = {}
    seeds = range(args.seed, args.seed + args.vertebrae)
    with ProcessPoolExecutor(args.processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for seed, found in zip(seeds, pool.map(height_errors, seeds, repeat(args.poses)), strict=True):
            if found is not None:
                errors[seed] = found
            if (seed + 1 - args.seed) % 100 == 0 and seed != seeds[-1]:
                _print(errors, seed + 1 - args.seed)
    _print(errors, args.vertebrae)


def _print(errors: dict[int, np.ndarray], tried: int) -> None:
    if not errors:
        print("no vertebra could be measured")
        return
    print(f"{len(errors)} vertebrae; {tried - len(errors)} more took no such fracture or could not be measured")
    every = np.array(list(errors.values()))
    for n, front in enumerate(("front given", "front 3.4 deg off")):
        for name, chosen in (("one mask", every[:, 0, n]), (f"mean of {every.shape[1]} masks", every[:, :, n].mean(1))):
            away = np.abs(chosen)
            print(
                f"{front}, {name}: bias {chosen.mean(0).round(3)}, sd {chosen.std(0).round(3)}, "
                f"largest {away.max(0).round(2)} mm, heights within 0.25 mm {np.mean(away <= 0.25):.4f}, "
                f"vertebrae {np.mean(away.max(1) <= 0.25):.4f}",
                flush=True,
            )
    worst = sorted(errors, key=lambda seed: -float(np.abs(errors[seed][0, 0]).max()))[:8]
    print("farthest, by seed: " + "; ".join(f"{seed} {errors[seed][0, 0].round(2).tolist()}" for seed in worst))


def height_errors(seed: int, poses: int) -> np.ndarray | None:
    """(poses, 2, 3) measured minus stated heights (mm) of one random vertebra; None when it cannot be had."""
    from VertebralGradingLib.errors import MaskError
    from VertebralGradingLib.image.volume import Volume
    from VertebralGradingLib.morphometry.heights import measure
    from VertebralGradingLib.phantom.alignment import rotation
    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import prepare
    from VertebralGradingLib.phantom.fracture import KINDS, fracture
    from VertebralGradingLib.phantom.masks import body_masks
    from VertebralGradingLib.phantom.patches import body_middle
    from VertebralGradingLib.phantom.truth import body_heights

    rng = np.random.default_rng(seed)
    spine = draw_spine(seed)
    level = str(rng.choice([level for level in spine.levels if level[0] in "TL"]))
    kind = (*KINDS, None)[seed % 5]
    try:
        if kind is not None:
            spine = fracture(spine, level, float(rng.uniform(0.02, 0.6)), seed, kind)
        stated = body_heights(spine, level)
        ready = prepare(spine)
        frame = ready.frames[spine.levels.index(level)]
        center = frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3]
        out = []
        for _ in range(poses):
            masks = body_masks(ready, [level], 0.5, rotation(*rng.normal(0, 0.2, 3)))
            volume = Volume((masks.array > 0).astype(np.float32), masks.affine)
            forward, side = rng.normal(0, 0.06, 2)
            place = center + rng.uniform(-0.5, 0.5, 3)
            fronts = (0.0, rng.normal(0, FRONT_SD))
            blocks = [_block(volume, place, frame[:3, :3] @ rotation(forward, side, front)) for front in fronts]
            out.append([measure(block, 0.5).heights_mm - stated for block in blocks])
    except (ValueError, MaskError):
        return None
    return np.array(out)


def _block(volume: Volume, center: np.ndarray, axes: np.ndarray) -> BodyMask:
    """A body block whose samples of 1 mm across are means of 2 x 2 samples of a mask with 0.5 mm."""
    from VertebralGradingLib.morphometry.body import BodyMask, body_grid
    from VertebralGradingLib.spine.reformation import sample_where

    shifts = [a * axes[:, 0] + b * axes[:, 1] for a in (-0.25, 0.25) for b in (-0.25, 0.25)]
    occupancy = np.mean([sample_where(volume, body_grid(center + shift, axes)) for shift in shifts], axis=0)
    return BodyMask(occupancy, body_grid(center, axes), axes, "given")


if __name__ == "__main__":
    main()
