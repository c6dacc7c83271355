"""What fixes a synthetic spine: a seed and plain arrays. Everything else follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.phantom.columns import AMOUNTS, COLUMNS, View, index, indices

TRUNK = (
    "fat_back", "muscle_back", "half_width", "half_depth", "lung_edge", "lung_recess", "diaphragm", "dome", "lung_hu",
    "muscle_hu", "fat_hu", "organ_hu", "aorta_mm", "aorta_side", "aorta_hu", "aorta_wall_hu", "vein_hu",
    "streaks", "organ_share", "gas_share", "sac_hu", "canal_fat", "psoas", "heart_hu", "airway", "seed_x", "seed_y",
    "seed_z", "table_hu", "table_gap", "midline_fat", "gutter", "fat_lines", "epidural", "plaque", "chest_fat",
    "ligament", "chest_hu",
)  # fmt: skip
"""Names of the soft-tissue numbers."""


@dataclass(frozen=True, eq=False)
class SpineParameters:
    """One synthetic spine.

    Attributes:
        seed: fixes textures and noise; two spines with one seed differ only where their numbers do.
        levels: standard names, cranial to caudal; includes context above T1 and below L5.
        vertebrae: (V, len(COLUMNS)) float64, see :data:`columns.COLUMNS`.
        trunk: (len(TRUNK),) float64, soft tissue.
        root: (3,) RAS mm of the middle of the lowest rim plane, and (3,) its forward, side and axial turn (radians).
    """

    seed: int
    levels: tuple[str, ...]
    vertebrae: NDArray[np.float64]
    trunk: NDArray[np.float64]
    root: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the arrays' shapes.

        Raises:
            ValueError: an array does not have the shape its names say.
        """
        if self.vertebrae.shape != (len(self.levels), len(COLUMNS)):
            raise ValueError(f"vertebrae must be ({len(self.levels)}, {len(COLUMNS)}), not {self.vertebrae.shape}")
        if self.trunk.shape != (len(TRUNK),) or self.root.shape != (6,):
            raise ValueError("trunk or root has a wrong shape")

    @property
    def view(self) -> View:
        """Columns by name, each (V,)."""
        return View(self.vertebrae)

    def row(self, level: str) -> NDArray[np.float64]:
        """(1, C) columns of one level."""
        place = self.levels.index(level)
        return self.vertebrae[place : place + 1]

    def changed(self, level: str, **values: float) -> SpineParameters:
        """A copy with other values at one level."""
        table = self.vertebrae.copy()
        for name, value in values.items():
            table[self.levels.index(level), index(name)] = value
        return replace(self, vertebrae=table)

    def fractured(self) -> tuple[str, ...]:
        """Levels whose fracture amounts are not all 0."""
        broken = np.abs(self.vertebrae[:, indices(AMOUNTS)]).sum(1) > 0
        return tuple(level for level, is_broken in zip(self.levels, broken, strict=True) if is_broken)


def healed(spine: SpineParameters, levels: tuple[str, ...] | None = None) -> SpineParameters:
    """The same spine before its fractures, or before those of some levels; seeds and all other numbers stay."""
    chosen = [n for n, level in enumerate(spine.levels) if levels is None or level in levels]
    table = spine.vertebrae.copy()
    table[np.ix_(chosen, indices(AMOUNTS))] = 0.0
    return replace(spine, vertebrae=table)
