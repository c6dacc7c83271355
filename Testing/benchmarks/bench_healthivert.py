"""Time of one pseudo-healthy vertebra, beside the published way, in one run on the same cores.

The published way: 256 x 256 slices of 1 mm, one by one, each with the neighbour above, the one below and then the
vertebra; sagittal slices and coronal ones. Its weights are random: time does not depend on them. Ours are those of the
configuration, in batches, a neighbour made healthy only where it is fractured; for grades every third slice.
"""

from __future__ import annotations

import numpy as np
import torch
from _common import fastest, network_arguments

from VertebralGradingLib.healthivert.attention import SliceClassifier
from VertebralGradingLib.healthivert.network import Generator
from VertebralGradingLib.healthivert.rhlv import View
from VertebralGradingLib.healthivert.stacks import STEP_MM, BodyFrame, Stack
from VertebralGradingLib.healthivert.synthesis import BATCH, ViewNetworks
from VertebralGradingLib.training.healthivert import configured

_BODY_MM = (24, 34, 44)
"""Height, depth and width of the vertebra."""
_DISC_MM = 8
_VIEWS: tuple[View, ...] = ("sagittal", "coronal")


def main() -> None:
    """Print seconds and ratios."""
    args = network_arguments(threads=2, repeats=2)
    torch.set_flush_denormal(True)
    published = fastest(lambda: _draw("paper256", 1.0, 1, "published"), 1)
    print(f"{args.threads} threads; published way: {published:.1f} s for a vertebra, both views, slices of 1 mm")
    for name in args.configs:
        for title, step, neighbours in (
            ("grade, no neighbour fractured", STEP_MM, ""),
            ("grade, one neighbour fractured", STEP_MM, "above"),
            ("volumes, no neighbour fractured", 1.0, ""),
            ("volumes, both neighbours first", 1.0, "published"),
        ):
            took = fastest(lambda: _draw(name, step, BATCH, neighbours), args.repeats)  # noqa: B023 - called at once
            print(f"  {name}, {title}: {took:.2f} s, {published / took:.0f} times faster")


def _draw(name: str, step: float, batch: int, neighbours: str) -> None:
    config = configured(name)
    torch.manual_seed(0)
    networks = ViewNetworks(
        Generator(config.network).eval().requires_grad_(False).to(memory_format=torch.channels_last),
        SliceClassifier(config.classifier.width).eval().requires_grad_(False),
        batch,
    )
    for view in _VIEWS:
        networks.draw(_stack(view, config.network.size, step, neighbours))


def _stack(view: View, size: int, step: float, neighbours: str) -> Stack:
    """Boxes of bodies and discs."""
    height, depth, width = _BODY_MM
    frame = BodyFrame(np.zeros(3), np.eye(3), depth / 2, width / 2, 13.0)
    offsets = frame.offsets(view, step)
    half = frame.half_across_mm("coronal" if view == "sagittal" else "sagittal")
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    wide = np.abs(column) <= half

    def body(middle: float) -> np.ndarray:
        return np.repeat((wide & (np.abs(row - middle) <= height / 2))[None], len(offsets), 0)

    own, above, below = body(0.0), body(-height - _DISC_MM), body(height + _DISC_MM)
    hu = np.where(own | above | below, 250.0, 40.0).astype(np.float32)
    first = above if neighbours in ("above", "published") else None
    second = below if neighbours == "published" else None
    return Stack(view, offsets, hu, own.astype(np.float32), first, second, frame.places(view, offsets), frame.position)


if __name__ == "__main__":
    main()
