"""What the generators draw too tall or too low on average, taken out: a smooth factor over the cross-section.

Fitted on synthetic vertebrae other than those that anything is reported on; stored in the model's card. numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LARGEST = 0.3
"""Of a term (log); more is no calibration but an error."""


@dataclass(frozen=True)
class Calibration:
    """Mean of log(drawn height / true height): ``whole`` + ``slope`` u + ``hollow`` u^2 + ``sides`` v^2.

    Attributes:
        whole, slope, hollow, sides: the terms; u runs from -1 at the front to 1 at the back, v from -1 to 1 across.
    """

    whole: float = 0.0
    slope: float = 0.0
    hollow: float = 0.0
    sides: float = 0.0

    @classmethod
    def from_list(cls, terms: Sequence[float]) -> Calibration:
        """Out of a card.

        Raises:
            ValueError: they are no calibration.
        """
        values = [float(term) for term in terms]
        if len(values) != 4 or not np.isfinite(values).all() or np.abs(values).max() > _LARGEST:
            raise ValueError("a calibration has four small terms")
        return cls(*values)

    @classmethod
    def fit(cls, u: Floats, v: Floats, log_ratio: Floats) -> Calibration:
        """Least squares over columns.

        Args:
            u: (N,) place from front to back.
            v: (N,) place across.
            log_ratio: (N,) log of drawn by true height.
        """
        terms, *_ = np.linalg.lstsq(design(u, v), log_ratio, rcond=None)
        return cls(*(float(term) for term in terms))

    def to_list(self) -> list[float]:
        """For a card."""
        return [self.whole, self.slope, self.hollow, self.sides]

    def factor(self, u: Floats, v: Floats) -> Floats:
        """(Y, Z) by which drawn heights at places (Y,) and (Z,) are to be multiplied; as at the wall beyond it."""
        at = np.meshgrid(np.clip(u, -1.0, 1.0), np.clip(v, -1.0, 1.0), indexing="ij")
        log = design(*(one.ravel() for one in at)) @ np.array(self.to_list())
        return np.asarray(np.exp(-log).reshape(at[0].shape))


def design(u: Floats, v: Floats) -> Floats:
    """(N, 4) what the terms are multiplied by at places (N,)."""
    return np.column_stack([np.ones_like(u), u, u**2, v**2])
