"""A solved warp as a few small arrays, so that who shows it only interpolates and samples: a slider follows at once.

A worker solves the closed loop at a few grades once; between them the field is interpolated (:func:`field.mixed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.field import KNOTS, Field, Rigid, mixed
from VertebralGradingLib.counterfactual.warp import Warp, picture_and_rise
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.reformation import Grid

STRIP_GRADES = (0.0, 0.75, 1.5, 2.25, 3.0)
"""Grades of a strip: five even steps."""
KNOT_GRADES = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.25, 2.5, 3.0)
"""Grades at which a warp is solved for a slider: where the loss of a grade bends, between, and those of a strip."""
_PREFIX = "knot_"
_NAMES = ("grades", "places", "sources", "rigid", "center", "axes", "heights_mm", "least_jacobian")


@dataclass(frozen=True, eq=False)
class LiveWarp:
    """Warps of one vertebra at rising grades.

    Attributes:
        grades: (n,) rising.
        fields: one for each.
        heights_mm: (n, 3) reached.
        least_jacobian: (n,)
    """

    grades: tuple[float, ...]
    fields: tuple[Field, ...]
    heights_mm: NDArray[np.float64]
    least_jacobian: NDArray[np.float64]

    @classmethod
    def of(cls, grades: Sequence[float], warps: Sequence[Warp]) -> LiveWarp:
        """Out of solved warps."""
        return cls(
            tuple(grades),
            tuple(warp.field for warp in warps),
            np.array([warp.reached_mm for warp in warps]),
            np.array([warp.least_jacobian for warp in warps]),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays by name, as a worker sends them; tables in float32, of all grades one after the other."""
        rigid = [[f.rigid.pivot_ahead, f.rigid.pivot_up, f.rigid.tilt, f.rigid.sink_mm] for f in self.fields]
        values: tuple[Any, ...] = (
            np.array(self.grades),
            np.concatenate([f.places for f in self.fields]).astype(np.float32),
            np.concatenate([f.sources for f in self.fields]).astype(np.float32),
            np.array(rigid),
            self.fields[0].center,
            self.fields[0].axes,
            self.heights_mm,
            self.least_jacobian,
        )
        return {_PREFIX + name: value for name, value in zip(_NAMES, values, strict=True)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> LiveWarp:
        """The inverse of :meth:`to_arrays`.

        Raises:
            InputError: an array is missing, or a field folds.
        """
        missing = [name for name in _NAMES if _PREFIX + name not in arrays]
        if missing:
            raise InputError("This answer holds no warp.", f"Ask for knots; {', '.join(missing)} is missing.")
        grades, places, sources, rigid, center, axes, heights, least = (
            np.asarray(arrays[_PREFIX + name], dtype=np.float64) for name in _NAMES
        )
        tables = (values.reshape(len(grades), KNOTS, *values.shape[1:]) for values in (places, sources))
        fields = tuple(
            Field(center, axes, place, source, Rigid(*(float(v) for v in row)))
            for place, source, row in zip(*tables, rigid, strict=True)
        )
        return cls(tuple(float(g) for g in grades), fields, heights, least)

    def field(self, grade: float) -> Field:
        """The field at a grade between the first and the last knot.

        Raises:
            InputError: beyond them.
        """
        return mixed(self.fields, self.grades, grade)

    def heights(self, grade: float) -> NDArray[np.float64]:
        """(3,) heights at a grade (mm), between those measured at the knots."""
        return np.array([np.interp(grade, self.grades, column) for column in self.heights_mm.T])

    def frame(self, ct: Volume, grade: float, grid: Grid) -> NDArray[np.float32]:
        """The picture at a grade on a grid (rows, columns, depth) HU, read from the CT."""
        return self.frame_and_rise(ct, grade, grid)[0]

    def frame_and_rise(self, ct: Volume, grade: float, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same, and how far what is seen there was moved up along the body's axis (mm)."""
        return picture_and_rise(ct, self.field(grade), grid)
