"""Stacks of slices through the generators: what the vertebra would look like, slice by slice, and how tall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.errors import MaskError
from VertebralGradingLib.healthivert.attention import SliceClassifier, attention
from VertebralGradingLib.healthivert.fusion import DrawnStack
from VertebralGradingLib.healthivert.gap import Gap, closing, opened
from VertebralGradingLib.healthivert.network import UNKNOWN_LEVEL, Drawn, Generator
from VertebralGradingLib.healthivert.preparation import to_network
from VertebralGradingLib.healthivert.stacks import INSIDE, Stack

_LEAST_PIXELS = 200
"""A neighbour that shows less in a slice is left as it is there (sheet 2, section 7)."""
BATCH = 16


@dataclass(frozen=True, eq=False)
class ViewNetworks:
    """What draws one view.

    Attributes:
        generator: coarse and fine.
        classifier: guides attention; without it nothing speaks for a fracture anywhere.
        batch: slices that are drawn at once.
    """

    generator: Generator
    classifier: SliceClassifier | None = None
    batch: int = BATCH

    def draw(self, stack: Stack) -> DrawnStack:
        """Make one vertebra pseudo-healthy; its neighbours first, where the stack says so.

        Slices that do not show it, or have no room for the gap, are left out.

        Raises:
            MaskError: none is left.
        """
        ct = to_network(stack.hu)
        for beside, up in ((stack.above, True), (stack.below, False)):
            if beside is not None:
                ct = self._repaired(ct, beside, stack, up)
        gaps = self._gaps(stack.own >= INSIDE)
        kept = np.array([n for n, gap in enumerate(gaps) if gap is not None], dtype=int)
        if not len(kept):
            raise MaskError("No slice has room for the gap.", "Cut a taller block around the vertebra.")
        chosen = [gap for gap in gaps if gap is not None]
        fine, body, heights = self._drawn(ct[kept], chosen, stack.place[kept], stack.position)
        first, last = (np.array([getattr(gap, name) for gap in chosen], dtype=float) for name in ("first", "last"))
        return DrawnStack(
            stack.view, stack.offsets_mm[kept], first, last, heights, fine, body, ct[kept], stack.own[kept]
        )

    def _gaps(self, masks: NDArray[np.bool_], least: int = 1) -> list[Gap | None]:
        out: list[Gap | None] = []
        for mask in masks:
            try:
                out.append(Gap.around(mask, self.generator.config.gap) if mask.sum() >= least else None)
            except MaskError:
                out.append(None)
        return out

    def _repaired(
        self, ct: NDArray[np.float32], beside: NDArray[np.bool_], stack: Stack, above: bool
    ) -> NDArray[np.float32]:
        """Slices whose neighbour has been made pseudo-healthy; what lies beyond it moves, the vertebra does not.

        The neighbour gets no lower than it is, as released.
        """
        gaps = self._gaps(beside, _LEAST_PIXELS)
        shown = [n for n, gap in enumerate(gaps) if gap is not None]
        if not shown:
            return ct
        chosen = [gap for gap in gaps if gap is not None]
        position = None if stack.position is None else stack.position + (-1.0 if above else 1.0)
        fine, _, heights = self._drawn(ct[shown], chosen, stack.place[shown], position)
        out = ct.copy()
        for k, (n, gap) in enumerate(zip(shown, chosen, strict=True)):
            height = min(max(int(np.ceil(heights[k])), gap.height), gap.rows)
            up = height - gap.height if above else 0
            inside, outer, inner = closing(gap, height, len(ct[n]), up)
            out[n] = np.where(inside[:, None], fine[k][inner], ct[n][outer])
        return out

    @torch.no_grad()  # attention needs gradients of its own
    def _drawn(
        self, ct: NDArray[np.float32], gaps: list[Gap], place: NDArray[np.float64], position: float | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """CT (N, S, S) in -1..1 and vertebra 0..1 with the gap drawn, and heights (N,) in rows."""
        fine, body, heights = list[Tensor](), list[Tensor](), list[Tensor]()
        level = UNKNOWN_LEVEL if position is None else position
        for start in range(0, len(gaps), self.batch):
            part = range(start, min(start + self.batch, len(gaps)))
            x = torch.from_numpy(np.stack([opened(ct[k], gaps[k]) for k in part])[:, None])
            mask = torch.from_numpy(np.stack([gaps[k].mask(ct[k].shape) for k in part])[:, None].astype(np.float32))
            x, mask = (one.contiguous(memory_format=torch.channels_last) for one in (x, mask))
            guide = None if self.classifier is None else attention(self.classifier, x)
            where = torch.from_numpy(place[start : start + len(part)]).float()
            made: Drawn = self.generator(x, mask, where, guide, torch.full_like(where, level))
            fine.append(made.fine[:, 0])
            body.append((made.body * mask)[:, 0])
            heights.append(made.heights[:, 1] * self.generator.config.gap)
        return torch.cat(fine).numpy(), torch.cat(body).numpy(), torch.cat(heights).double().numpy()
