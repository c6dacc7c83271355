"""Changes of look and place that cost little, for blocks that are drawn again and again. Shares and classes follow."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional


def augment(batch: dict[str, Tensor], rng: np.random.Generator, unseen: int = 0) -> dict[str, Tensor]:
    """Change every block of a batch.

    Mirrored left to right, stretched, turned and moved, HU scaled, shifted and bent, noise of random grain, blur along
    an axis, slices averaged.

    Args:
        batch: ``image`` (B, 1, R, C, D) HU, and maps of the same shape; those of integers are classes.
        rng: fixes the changes.
        unseen: class of what comes from outside of a block.
    """
    out: dict[str, list[Tensor]] = {name: [] for name in batch}
    for n in range(len(batch["image"])):
        one = {name: value[n : n + 1] for name, value in batch.items()}
        if rng.random() < 0.5:
            one = {name: value.flip(4) for name, value in one.items()}
        if rng.random() < 0.6:
            one = _warped(one, rng, unseen)
        one["image"] = _look(one["image"], rng)
        for name, value in one.items():
            out[name].append(value)
    return {name: torch.cat(values) for name, values in out.items()}


def _warped(one: dict[str, Tensor], rng: np.random.Generator, unseen: int) -> dict[str, Tensor]:
    """Stretched along each axis by 7 %, turned by 4 degrees, moved by 1.2 samples (standard deviations)."""
    turn = Rotation.from_rotvec(rng.normal(0.0, np.radians(4.0), 3)).as_matrix()
    shape = np.array(one["image"].shape[2:], dtype=float)
    matrix = np.empty((3, 4))
    matrix[:, :3] = turn * np.exp(rng.normal(0.0, 0.07, 3)) * shape[None, ::-1] / shape[::-1, None]
    matrix[:, 3] = 2.0 * rng.normal(0.0, 1.2, 3) / shape[::-1]
    like = one["image"]
    theta = torch.from_numpy(matrix.astype(np.float32))[None].to(like.device)
    places = functional.affine_grid(theta, list(like.shape), align_corners=False)
    out = {}
    outside = (places.abs() > 1).any(-1)[:, None]
    for name, value in one.items():
        smooth = value.is_floating_point()
        out[name] = functional.grid_sample(
            value.to(like.dtype), places, "bilinear" if smooth else "nearest", "border", align_corners=False
        ).to(value.dtype)
        if name != "image":  # what is repeated there counts as not seen
            out[name][outside] = 0 if smooth else unseen
    return out


def _look(hu: Tensor, rng: np.random.Generator) -> Tensor:
    air = hu <= -1020
    out = hu
    if rng.random() < 0.3:
        axis = int(rng.integers(3))
        out = _averaged(out, axis, 3)
    if rng.random() < 0.2:
        out = _averaged(out, 0, int(rng.choice([3, 5])))  # odd: the image stays over its classes
    if rng.random() < 0.7:
        out = out * float(rng.normal(1.0, 0.05)) + float(rng.normal(0.0, 15.0))
        bone = (out - 100.0).clamp_min(0.0)
        out = out + bone * float(rng.uniform(-0.25, 0.35))
    if rng.random() < 0.6:
        out = out + float(np.exp(rng.uniform(np.log(3.0), np.log(60.0)))) * _grain(out, rng)
    return torch.where(air, hu, out)


def _averaged(hu: Tensor, axis: int, count: int) -> Tensor:
    kernel = [1, 1, 1]
    kernel[axis] = count
    pads = [0] * 6
    pads[2 * (2 - axis)], pads[2 * (2 - axis) + 1] = (count - 1) // 2, count // 2
    return functional.avg_pool3d(functional.pad(hu, pads, mode="replicate"), tuple(kernel), stride=1)


def _grain(like: Tensor, rng: np.random.Generator) -> Tensor:
    generator = torch.Generator(like.device).manual_seed(int(rng.integers(1 << 31)))
    noise = torch.randn(like.shape, generator=generator, device=like.device)
    for axis in range(3):
        if rng.random() < 0.5:
            noise = _averaged(noise, axis, int(rng.integers(2, 4)))
    return noise / noise.std().clamp_min(1e-3)
