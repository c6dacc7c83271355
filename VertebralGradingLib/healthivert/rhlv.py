"""Relative height loss of vertebrae (RHLV): a vertebra's mask against that of its pseudo-healthy self. numpy and scipy.

Masks are straightened: rows caudal, columns posterior, depth left, with equal steps. ``as_coded`` is what the published
code computes (sheet 2, section 8), with its traps: the most collapsed columns are dropped, and a vertebra that is
taller than its pseudo-healthy self counts as one without loss. ``rhlv_v2`` measures the same columns of both, those
that are tall in the pseudo-healthy mask, also where nothing is left of the vertebra, and keeps the sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import MaskError

Variant = Literal["as_coded", "rhlv_v2"]
View = Literal["sagittal", "coronal"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

THIRDS: dict[str, tuple[str, str, str]] = {
    "sagittal": ("anterior", "middle", "posterior"),
    "coronal": ("right", "central", "left"),
}
"""Names of the thirds in each view, in the order of the index. The published code calls both pre, mid and post."""
TAU = 0.7
"""Columns are kept that are taller than this share of the central one."""
_EPSILON = 1e-6


@dataclass(frozen=True)
class RelativeHeightLoss:
    """Loss of height as a share of the pseudo-healthy one; positive where height was lost.

    Attributes:
        whole: of all columns.
        thirds: by name (:data:`THIRDS`).
        least, most: smallest and largest mean height (samples) of the vertebra's own thirds.
    """

    whole: float
    thirds: dict[str, float]
    least: float
    most: float

    @property
    def features(self) -> tuple[float, float, float]:
        """The three thirds, in the order that the classifier is trained on."""
        first, second, third = self.thirds.values()
        return first, second, third


def relative_height_loss(
    original: Bools, synthetic: Bools, variant: Variant = "rhlv_v2", view: View = "sagittal", tau: float = TAU
) -> RelativeHeightLoss:
    """Loss of height by thirds, in the middle of the vertebra (about the central 40 % across the view).

    Args:
        original: (R, C, D) the vertebra.
        synthetic: (R, C, D) its pseudo-healthy self, in the same grid.
        variant: see the module.
        view: thirds from front to back, or from right to left.
        tau: see :data:`TAU`.

    Raises:
        MaskError: a mask is empty, or they have no slice in common.
        ValueError: another variant or view, or masks of different shapes.
    """
    if variant not in ("as_coded", "rhlv_v2") or view not in THIRDS:
        raise ValueError("variant must be as_coded or rhlv_v2, and view sagittal or coronal")
    original, synthetic = _across(original, view), _across(synthetic, view)
    if original.shape != synthetic.shape:
        raise ValueError("the masks must have one shape")
    if not original.any() or not synthetic.any():
        raise MaskError("A vertebra's mask is empty.", "Choose a vertebra that the mask shows.")
    collect = _as_coded if variant == "as_coded" else _columns
    parts: list[tuple[list[Floats], list[Floats]]] = [([], []) for _ in range(4)]
    for z in _middle_slices(original):
        seen = synthetic[:, :, z].any() and (variant == "rhlv_v2" or original[:, :, z].any())
        if seen:
            for part, (ours, theirs) in zip(parts, collect(original[:, :, z], synthetic[:, :, z], tau), strict=True):
                part[0].append(ours)
                part[1].append(theirs)
    if not parts[0][0]:
        raise MaskError("The masks of the vertebra have no slice in common.", "Check that they lie in one grid.")
    heights = [(_mean(ours), _mean(theirs)) for ours, theirs in parts]
    losses = [(theirs - ours) / (theirs + _EPSILON) for ours, theirs in heights]
    own = [ours for ours, _ in heights[1:]]
    return RelativeHeightLoss(losses[0], dict(zip(THIRDS[view], losses[1:], strict=True)), min(own), max(own))


def spans(mask: Bools) -> Floats:
    """(R, ...) -> (...) samples from the first to the last one of each column, so that holes do not count."""
    rows = len(mask)
    found = mask.any(0)
    first = mask.argmax(0)
    last = rows - 1 - mask[::-1].argmax(0)
    return np.where(found, last - first + 1, 0).astype(float)


def _across(mask: Bools, view: View) -> Bools:
    """Columns along the second axis, slices along the third."""
    mask = np.asarray(mask, dtype=bool)
    return mask if view == "sagittal" else mask.transpose(0, 2, 1)


def _middle_slices(original: Bools) -> range:
    """Slices from the mean one, less and more a fifth of the extent."""
    at = np.nonzero(original)[2]
    middle, reach = int(at.mean()), int(at.max() - at.min()) // 5
    return range(middle - reach, max(middle + reach, middle - reach + 1))


def _cuts(synthetic: Bools) -> list[slice]:
    """The whole extent and its thirds, of one slice (R, C)."""
    columns = np.flatnonzero(synthetic.any(0))
    first, last = int(columns[0]), int(columns[-1])
    one, two = first + (last - first) // 3, first + 2 * (last - first) // 3
    return [slice(first, last + 1), slice(first, one), slice(one, two), slice(two, last + 1)]


def _as_coded(original: Bools, synthetic: Bools, tau: float) -> list[tuple[Floats, Floats]]:
    """Kept column heights of the whole slice and of its thirds, by the published rules."""
    ours, theirs = original.sum(0).astype(float), synthetic.sum(0).astype(float)
    least = [tau * heights[_central(mask)] for mask, heights in ((original, ours), (synthetic, theirs))]
    out = []
    for cut in _cuts(synthetic):
        own, other = ours[cut], theirs[cut]
        if own.size and own.max() > other.max() > 0:
            other = other * (own.max() / other.max())
        out.append((own[own > least[0]], other[other > least[1]]))
    return out


def _columns(original: Bools, synthetic: Bools, tau: float) -> list[tuple[Floats, Floats]]:
    """Heights of the same columns of both, those that are kept in the pseudo-healthy mask."""
    ours, theirs = spans(original), spans(synthetic)
    kept = theirs > tau * theirs[_central(synthetic)]
    return [(ours[cut][kept[cut]], theirs[cut][kept[cut]]) for cut in _cuts(synthetic)]


def _central(mask: Bools) -> int:
    """The column of a slice's centre of mass."""
    return int(np.nonzero(mask)[1].mean())


def _mean(parts: list[Floats]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if len(values) else 0.0
