"""The smooth curve through a chain of vertebral centroids (RAS mm)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUPERIOR = np.array([0.0, 0.0, 1.0])
ANTERIOR = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, eq=False)
class Curve:
    """Natural cubic spline over chord length, cranial to caudal, continued in straight lines at both ends.

    Attributes:
        knots: (n, 3) RAS mm, cranial to caudal, n >= 1. One knot gives a line along the patient's long axis,
            two give the straight line through them.
    """

    knots: NDArray[np.float64]

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """(n,) chord length at each knot (mm), 0 at the first."""
        steps = np.linalg.norm(np.diff(self.knots, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @cached_property
    def _spline(self) -> Any:
        from scipy.interpolate import CubicSpline

        return CubicSpline(self.lengths, self.knots, bc_type="natural")

    def at(self, s: NDArray[Any] | float) -> NDArray[np.float64]:
        """Points (..., 3) at chord lengths ``s`` (mm); outside the chain on its end tangents."""
        s = np.asarray(s, dtype=np.float64)
        if len(self.knots) == 1:
            return self.knots[0] - s[..., None] * SUPERIOR
        inside = np.clip(s, 0.0, self.lengths[-1])
        return self._spline(inside) + (s - inside)[..., None] * self.down(inside)

    def down(self, s: NDArray[Any] | float) -> NDArray[np.float64]:
        """Unit tangents (..., 3) at chord lengths ``s``, pointing caudally."""
        s = np.asarray(s, dtype=np.float64)
        if len(self.knots) == 1:
            return np.broadcast_to(-SUPERIOR, (*s.shape, 3)).copy()
        tangent = self._spline(np.clip(s, 0.0, self.lengths[-1]), 1)
        return tangent / np.linalg.norm(tangent, axis=-1, keepdims=True)

    def closest(self, point: NDArray[Any]) -> float:
        """Chord length of the curve point nearest to a RAS point, ends continued by 60 mm."""
        s = np.arange(-60.0, self.lengths[-1] + 60.0, 2.0)
        for width in (2.0, 0.1, 0.005):
            best = s[np.argmin(((self.at(s) - point) ** 2).sum(-1))]
            s = best + np.linspace(-width, width, 41)
        return float(best)

    def frame(self, s: float, anterior_hint: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Right-handed axes (3, 3) at ``s``: columns right, anterior, up (cranial).

        Args:
            s: chord length (mm).
            anterior_hint: direction that should count as anterior, such as arch centre to body centre; the patient's
                own anterior axis by default.
        """
        up = -self.down(s)
        return axes_from(up, ANTERIOR if anterior_hint is None else anterior_hint)


def axes_from(up: NDArray[Any], anterior_hint: NDArray[Any]) -> NDArray[np.float64]:
    """Right-handed axes (3, 3), columns right, anterior, up, from the cranial direction and a rough anterior one."""
    up = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    anterior = anterior_hint - (anterior_hint @ up) * up
    if np.linalg.norm(anterior) < 0.2 * np.linalg.norm(anterior_hint):
        fallback = SUPERIOR if up[1] > 0 else -SUPERIOR  # lying spine: the patient's axes turned with it
        anterior = -fallback - (-fallback @ up) * up
    anterior = anterior / np.linalg.norm(anterior)
    return np.column_stack([np.cross(anterior, up), anterior, up])
