"""The vertebral body from CT and a centroid by the learned network; torch is loaded when the network is.

The network sees a straightened block around the centroid, then a second one around what it found, in the frame of the
endplates it found, together with its mirror image. How far its answers spread, and how soft its edges are, tell how
uncertain they are. Several vertebrae go through it together: first blocks of all, then second ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.models.batches import in_company
from VertebralGradingLib.models.loading import fitting, importing
from VertebralGradingLib.models.registry import Model, find_model
from VertebralGradingLib.models.threads import leave_a_core
from VertebralGradingLib.models.weights import read_arrays
from VertebralGradingLib.morphometry.body import SHAPE, STEP_MM, BodyMask, Place, body_grid
from VertebralGradingLib.morphometry.sheets import own_frame
from VertebralGradingLib.segmentation.uncertainty import (
    LOST_MM,
    Calibration,
    heights_apart,
    outside_mm,
    with_the_others,
)
from VertebralGradingLib.spine.reformation import rigid_grid, sample_where

MODEL = "body-segmentation"
FILE = "network.safetensors"
_NEAR_MM = 9.0
"""A found piece counts when it comes this near to the block's centre."""
_EMPTY_ML = 1.5


@dataclass(frozen=True, eq=False)
class Found:
    """What the network shows of one vertebra.

    Attributes:
        body: as seen in the second block, with what its uncertainty is told from: ``spread``, how far the endplates of
            the two blocks lie apart, if all that the bodies differ by were there; ``apart`` and ``mirrored`` (3,), by
            how much the heights of the two blocks differ, and the root of how much those of the second block and of its
            mirror image do, which are noisy where they are large;
            ``softness``, median spread of the endplates' places, read off the rise of the answer along each column;
            ``slices``, their distance along the body; ``outside``, how far the centroid lies outside of it (all mm).
        agreement: Dice of the two blocks' bodies.
        moved_mm: from the centroid to the middle of the body.
    """

    body: BodyMask
    agreement: float
    moved_mm: float


class NetworkFinder:
    """Finds bodies with a network.

    Args:
        network: from HU (B, 1, 64, 64, 64) to logits; first channel the body.
        device: where it runs.
        calibration: of the uncertainty.
    """

    def __init__(self, network: Any, device: str = "cpu", calibration: Calibration | None = None) -> None:
        self.network, self.device = network, device
        self.calibration = calibration or Calibration()

    @classmethod
    def load(cls, device: str = "cpu", model: Model | None = None) -> NetworkFinder:
        """The installed model, verified.

        Raises:
            MethodError: it is not installed, is damaged, does not fit this program, or there is no torch.
        """
        model = model or find_model(MODEL)
        card = model.verify()
        with importing("The network needs PyTorch.", "Install PyTorch, or go on without the network."):
            import torch

            from VertebralGradingLib.segmentation.network import BodyNetwork, NetworkConfig
        with fitting(model):
            network = BodyNetwork(NetworkConfig.from_dict(card.config["network"]))
            arrays = read_arrays(model.path(FILE))
            network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
            calibration = Calibration.from_dict(card.config.get("calibration", {}))
        leave_a_core()
        network.eval().requires_grad_(False).to(device)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return cls(network, device, calibration)

    def __call__(
        self,
        ct: Volume,
        center: NDArray[np.float64],
        axes: NDArray[np.float64],
        spacing_up: float | None = None,
        spacing_down: float | None = None,
    ) -> BodyMask:
        """Find the body around a centroid; arguments as :func:`classical.find_body_classical`."""
        return self.find_all(ct, [(center, axes)])[0]

    def find_all(self, ct: Volume, places: Sequence[Place]) -> list[BodyMask]:
        """Find the bodies around several centroids together: the same ones as one by one, sooner."""
        return [
            self.calibration.told(replace(found.body, confidence=_confidence(found)))
            for found in self.search_all(ct, places)
        ]

    def search(self, ct: Volume, center: NDArray[np.float64], axes: NDArray[np.float64]) -> Found:
        """Body and what its uncertainty is told from, not calibrated."""
        return self.search_all(ct, [(center, axes)])[0]

    def search_all(self, ct: Volume, places: Sequence[Place]) -> list[Found]:
        """The same for several; there is no second block around what shows no body in its first."""
        firsts = [seen.body for seen in self._bodies(ct, places, mirrored=False)]
        there = [first.volume_mm3 >= 1000 * _EMPTY_ML for first in firsts]
        again = [
            (first.centroid(), own_frame(first)[0].axes) for first, some in zip(firsts, there, strict=True) if some
        ]
        seconds = iter(self._bodies(ct, again, mirrored=True))
        return [
            _agreed(first, next(seconds) if some else None, ct, center)
            for (center, _), first, some in zip(places, firsts, there, strict=True)
        ]

    def _bodies(self, ct: Volume, places: Sequence[Place], mirrored: bool) -> list[_Seen]:
        """Bodies as seen in one block each, or in it and its mirror image."""
        from VertebralGradingLib.segmentation.network import EDGE

        if not places:
            return []
        blocks = []
        for center, axes in places:
            hu = sample(ct, rigid_grid(center, axes, (EDGE,) * 3, 1.0).points())
            blocks += [hu, hu[..., ::-1]] if mirrored else [hu]
        shares = self._shares(np.stack(blocks))
        sides: list[tuple[NDArray[np.float32], ...]] = [()] * len(places)
        if mirrored:
            sides = list(zip(shares[::2], shares[1::2, ..., ::-1], strict=True))
            shares = (shares[::2] + shares[1::2, ..., ::-1]) / 2.0
        out = []
        for (center, axes), share, both in zip(places, shares, sides, strict=True):
            grid, piece = body_grid(center, axes), _central_piece(share)
            seen = [
                BodyMask(_to_block(part), grid, axes, "network")
                for part in (piece, *(np.where(piece > 0, side, 0.0).astype(np.float32) for side in both))
            ]
            out.append(_Seen(seen[0], _softness(piece), heights_apart(*seen[1:]) if both else 0.0))
        return out

    def _shares(self, hu: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, R, C, D) HU -> how surely each sample is body, 0..1."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(hu[:, None], dtype=np.float32)).to(self.device)
            seen: NDArray[np.float32] = in_company(self.network, x)[:, 0].float().sigmoid().cpu().numpy()
        return seen


@dataclass(frozen=True, eq=False)
class _Seen:
    """A body as one block shows it, softness of its endplates (mm), differences (3,) of the mirror image's heights."""

    body: BodyMask
    softness_mm: float
    mirrored_mm: float | NDArray[np.float64]


def _agreed(first: BodyMask, second: _Seen | None, ct: Volume, center: NDArray[np.float64]) -> Found:
    """The body of the second block, and how well that of the first agrees with it; nothing there without a second."""
    body = first if second is None else second.body
    moved = float(np.linalg.norm(body.centroid() - center))
    signs: dict[str, float | NDArray[np.float64]]
    signs = {"slices": ct.spacing_along(body.axes[:, 2]), "outside": outside_mm(body, center)}
    if second is None:
        signs |= dict.fromkeys(("spread", "apart", "mirrored", "softness", "outside"), LOST_MM)
        return Found(replace(body, signs=signs), 0.0, moved)
    before = sample_where(first.as_volume(), body.grid)
    both = 2.0 * float(np.minimum(before, body.occupancy).sum())
    agreement = both / max(float(before.sum() + body.occupancy.sum()), 1e-6)
    area = max(float(body.occupancy.max(0).sum()), 1.0)
    signs["spread"] = (1.0 - agreement) * body.volume_mm3 / area / 2.0  # of one endplate, if it were all there
    signs["apart"] = with_the_others(heights_apart(first, body))
    signs |= {"mirrored": np.sqrt(second.mirrored_mm), "softness": second.softness_mm}
    return Found(replace(body, signs=signs), agreement, moved)


def channels_of(arrays: Mapping[str, NDArray[Any]]) -> list[int]:
    """The layout's channels, read off the weights' shapes."""
    return [len(arrays[name]) for name in sorted(arrays) if name.startswith("down.") and name.endswith(".norm1.weight")]


def finder_of_weights(path: Path, device: str = "cpu") -> NetworkFinder:
    """A finder from a bare file of weights, to choose among several; its layout is read off its shapes.

    Raises:
        MethodError: no safetensors file, or not of this network.
    """
    import torch

    from VertebralGradingLib.segmentation.network import BodyNetwork, NetworkConfig

    arrays = read_arrays(path)
    widths = channels_of(arrays)
    try:
        network = BodyNetwork(NetworkConfig.from_dict({"channels": widths}))
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (RuntimeError, ValueError) as error:
        raise MethodError("These are no weights of the body network.", "Choose another file.") from error
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return NetworkFinder(network, device)


def _central_piece(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest piece near the middle, without what touches it not."""
    from scipy.ndimage import binary_dilation, label

    pieces, count = label(share >= 0.5)
    if not count:
        return np.zeros_like(share)
    middle = [(size - 1) / 2 for size in share.shape]
    near = np.ogrid[tuple(slice(0, size) for size in share.shape)]
    ball = sum((axis - m) ** 2 for axis, m in zip(near, middle, strict=True)) <= _NEAR_MM**2
    sizes = np.bincount(pieces[ball], minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        return np.zeros_like(share)
    mine = pieces == sizes.argmax()
    chosen = binary_dilation(mine, iterations=2) & (mine | (pieces == 0))
    return np.where(chosen, share, 0.0).astype(np.float32)


def _to_block(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """(R, C, D) at 1 mm on the samples of a body block with the same middle."""
    edge = share.shape[0]
    row = (np.arange(SHAPE[0]) - (SHAPE[0] - 1) / 2) * STEP_MM[0] + (edge - 1) / 2
    low = np.clip(np.floor(row).astype(int), 0, edge - 2)
    part = (row - low).astype(np.float32)[:, None, None]
    between = share[low] * (1 - part) + share[low + 1] * part
    pads = [((size - edge) // 2,) * 2 for size in SHAPE[1:]]
    return np.pad(between, [(0, 0), *pads]).astype(np.float32)


def _softness(share: NDArray[np.float32]) -> float:
    """Median over columns of the spread (mm) of where the endplates lie, read as a distribution over samples."""
    middle = share >= 0.5
    columns = middle.sum(0) >= 8
    if not columns.any():
        return LOST_MM
    profile = share[:, columns]
    center = (np.arange(len(share))[:, None] * profile).sum(0) / profile.sum(0)
    row = np.arange(len(share), dtype=np.float32)[:, None]
    spreads = []
    for half in (row < center, row >= center):
        steps = np.abs(np.diff(np.where(half, profile, profile.max(0)), axis=0))
        total = np.maximum(steps.sum(0), 1e-6)
        place = (row[:-1] * steps).sum(0) / total
        spreads.append(np.sqrt(((row[:-1] - place) ** 2 * steps).sum(0) / total + 1.0 / 12.0))  # linear in between
    return float(np.median(np.concatenate(spreads)))


def _confidence(found: Found) -> float:
    """How sure the network is that this is the body, 0..1.

    On the development CTs it moved by up to 5 mm from seeds placed by eye, and by 5 to 14 mm from seeds in discs.
    """
    same = np.clip((found.agreement - 0.75) / 0.15, 0, 1)
    sharp = np.clip((2.6 - float(found.body.signs["softness"])) / 1.0, 0, 1)
    near = np.clip((11.0 - found.moved_mm) / 5.0, 0, 1)
    large = np.clip((found.body.volume_mm3 / 1000.0 - _EMPTY_ML) / 2.0, 0, 1)
    return float(same * sharp * near * large)
