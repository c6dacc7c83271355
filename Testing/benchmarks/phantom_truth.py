"""Stated heights of synthetic bodies against heights measured in body masks rendered at 0.5 mm, all deformities.

Each mask is rendered on voxels turned and shifted at random, several times; nothing is asserted here.
"""

from __future__ import annotations

import argparse

import numpy as np


def main() -> None:
    """Print how far measured heights are from stated ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vertebrae", type=int, default=8)
    parser.add_argument("--poses", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7000)
    args = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        return
    torch.set_num_threads(1)
    single, mean, left_out = [], [], 0
    for n in range(args.vertebrae):
        errors = height_errors(args.seed + n, args.poses)
        if errors is None:
            left_out += 1
            continue
        single.append(errors[0])
        mean.append(errors.mean(0))
        if len(mean) % 100 == 0:
            _print(single, mean, left_out, args.poses)
    _print(single, mean, left_out, args.poses)


def _print(single: list[np.ndarray], mean: list[np.ndarray], left_out: int, poses: int) -> None:
    print(f"{len(mean)} vertebrae; {left_out} more whose shape took no such fracture or could not be measured")
    for name, errors in (("one mask", np.array(single)), (f"mean of {poses} masks", np.array(mean))):
        away = np.abs(errors)
        print(
            f"{name}: bias {errors.mean(0).round(3)}, sd {errors.std(0).round(3)}, largest {away.max(0).round(2)} mm, "
            f"heights within 0.25 mm {np.mean(away <= 0.25):.3f}, vertebrae {np.mean(away.max(1) <= 0.25):.3f}",
            flush=True,
        )


def height_errors(seed: int, poses: int) -> np.ndarray | None:
    """(poses, 3) measured minus stated heights (mm) of one random vertebra; None when it cannot be had."""
    from VertebralGradingLib.errors import MaskError
    from VertebralGradingLib.morphometry import measure
    from VertebralGradingLib.phantom.alignment import rotation
    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import prepare
    from VertebralGradingLib.phantom.fracture import KINDS, fracture
    from VertebralGradingLib.phantom.masks import body_masks
    from VertebralGradingLib.phantom.patches import body_middle
    from VertebralGradingLib.phantom.truth import body_heights
    from VertebralGradingLib.sampling import sample
    from VertebralGradingLib.segmentation.body import BodyMask, body_grid
    from VertebralGradingLib.volume import Volume

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
            axes = frame[:3, :3] @ rotation(*rng.normal(0, 0.06, 3))
            grid = body_grid(center + rng.uniform(-0.5, 0.5, 3), axes)
            body = BodyMask(sample(volume, grid.points(), fill=0.0), grid, axes, "given")
            out.append(measure(body, 0.5).heights_mm - stated)
    except (ValueError, MaskError):
        return None
    return np.array(out)


if __name__ == "__main__":
    main()
