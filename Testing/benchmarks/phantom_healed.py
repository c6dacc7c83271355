"""Fractured spines against their healed selves, vertebra by vertebra, each in its own frame, before noise."""

from __future__ import annotations

import argparse

import numpy as np
from _common import can_draw

OFFSETS = (-3, -2, -1, 1, 2)
"""Vertebrae from the fractured one, negative cranially."""


def main() -> None:
    """Print how much the HU of neighbours changes with the fracture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=4)
    parser.add_argument("--seed", type=int, default=6000)
    args = parser.parse_args()
    if not can_draw():
        return
    seen = [changes(args.seed + n) for n in range(args.spines)]
    for offset in OFFSETS:
        whole = np.concatenate([one[offset][0] for one in seen])
        deep = np.concatenate([one[offset][1] for one in seen])
        print(
            f"{offset:+d}: vertebra: {100 * np.mean(whole < 1.0):.2f} % of {whole.size} points within 1 HU, largest "
            f"{whole.max():.2f} HU; body more than 2 mm inside: largest {deep.max():.2f} HU"
        )


def changes(seed: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Offset -> absolute change (HU) in the whole vertebra, and more than 2 mm inside its body."""
    import torch

    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import Field, prepare
    from VertebralGradingLib.phantom.fracture import KINDS, fracture
    from VertebralGradingLib.phantom.parameters import healed

    level = ("T8", "T12", "L1", "L3")[seed % 4]
    broken = fracture(draw_spine(seed), level, (0.25, 0.45)[seed % 2], seed, KINDS[seed % 4])
    pair = [prepare(broken), prepare(healed(broken))]
    fields = [Field([one], "cpu", torch.float64) for one in pair]
    # not on the bodies' mid planes, where rounding decides which disc a point belongs to
    grid = np.meshgrid(np.arange(-28, 29, 2.0), np.arange(-40, 24, 2.0), np.arange(-20.25, 21), indexing="ij")
    own = np.stack(grid, -1).reshape(-1, 3)
    out = {}
    for offset in OFFSETS:
        k = broken.levels.index(level) + offset
        points = [torch.from_numpy(own @ one.frames[k, :3, :3].T + one.frames[k, :3, 3])[None] for one in pair]
        now, before = (field(where) for field, where in zip(fields, points, strict=True))
        label = int(pair[0].labels[k])
        both = (now.vertebra == label) & (before.vertebra == label)
        change = (now.hu - before.hu).abs()
        out[offset] = (change[both].numpy(), change[both & (now.body == label) & (now.depth > 2.0)].numpy())
    return out


if __name__ == "__main__":
    main()
