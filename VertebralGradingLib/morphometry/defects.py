"""Focal endplate defects: pits that heights alone would take for a fracture.

Rule (sheet 5, section 3): a Schmorl node is focal, less than about half of the endplate front to back and side to
side, and the rest of the endplate is flat; a biconcave fracture takes the whole central endplate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.body import STEP_MM
from VertebralGradingLib.morphometry.sheets import Sheets, core_region, rim_depth

MIN_DEPTH_MM = 4.0
"""Depth below the plane of the rim; ordinary concavity is 1-3 mm."""
MIN_INSIDE_MM = 4.5
"""Distance of a pit's deepest point from the edge of the core region; nearer lie the walls' own notches."""
MIN_EXTENT_MM = 4.0
OPENING_MM = 1.0
"""A pit begins this much below the rest of the endplate."""
MAX_SHARE = 0.45
"""Largest share of the endplate's depth and width that is still focal measured at half its depth."""
MAX_REST_MM = 0.8
"""Largest robust standard deviation in depth of the rest of a flat endplate."""


@dataclass(frozen=True)
class EndplateDefect:
    """A focal pit.

    Attributes:
        endplate: "superior" or "inferior".
        depth_mm: greatest depth below the plane of the endplate's rim.
        extent_ap_mm: front-to-back extent of its opening.
        extent_lr_mm: side-to-side extent of its opening.
        area_share: share of the endplate's area.
        rest_mm: unevenness of the rest of the endplate (robust standard deviation).
    """

    endplate: str
    depth_mm: float
    extent_ap_mm: float
    extent_lr_mm: float
    area_share: float
    rest_mm: float

    def describe(self) -> str:
        """One phrase for reports."""
        return (
            f"{self.endplate} endplate, {self.extent_ap_mm:.0f} mm AP x {self.extent_lr_mm:.0f} mm LR, "
            f"{self.depth_mm:.0f} mm deep"
        )


def find_defects(sheets: Sheets) -> tuple[list[EndplateDefect], Sheets]:
    """Look for focal pits in both endplates.

    Returns:
        The defects, and the sheets with their pits filled by the endplate's smooth surface.
    """
    core = core_region(sheets, margin_mm=2.0)
    defects, filled = [], {}
    for endplate, sheet, sign in (("superior", sheets.top, 1.0), ("inferior", sheets.bottom, -1.0)):
        defect, repaired = _find(endplate, sheet, sign, core)
        filled[endplate] = repaired
        if defect is not None:
            defects.append(defect)
    return defects, replace(sheets, top=filled["superior"], bottom=filled["inferior"])


def _find(
    endplate: str, sheet: NDArray[np.float64], sign: float, core: NDArray[np.bool_]
) -> tuple[EndplateDefect | None, NDArray[np.float64]]:
    from scipy.ndimage import binary_dilation, distance_transform_edt
    from scipy.ndimage import label as connected

    if core.sum() < 80:
        return None, sheet
    inside = distance_transform_edt(core, sampling=STEP_MM[1:])
    depth = rim_depth(sheet, sign, core)
    seed = np.where(inside > MIN_INSIDE_MM, depth, 0.0)
    deepest = float(seed.max())
    if deepest < MIN_DEPTH_MM:
        return None, sheet
    pieces, _ = connected(depth > 0.5 * deepest)
    pit = pieces == pieces.flat[int(seed.argmax())]
    extent_ap = float((pit.any(1)).sum() * STEP_MM[1])
    extent_lr = float((pit.any(0)).sum() * STEP_MM[2])
    whole_ap = float(core.any(1).sum() * STEP_MM[1]) + 4.0
    whole_lr = float(core.any(0).sum() * STEP_MM[2]) + 4.0
    around = core & ~binary_dilation(pit, iterations=3)
    rest = float(1.4826 * np.median(np.abs(depth[around] - np.median(depth[around])))) if around.sum() > 30 else np.inf
    large = min(extent_ap, extent_lr) >= MIN_EXTENT_MM
    small = extent_ap <= MAX_SHARE * whole_ap and extent_lr <= MAX_SHARE * whole_lr
    if not (large and small and rest <= MAX_REST_MM):
        return None, sheet
    ordinary = float(np.median(depth[around]))
    pieces, _ = connected((depth > ordinary + OPENING_MM) & core)
    opening = pieces == pieces.flat[int(seed.argmax())]
    repaired = np.where(binary_dilation(opening) & (depth > ordinary) & core, sheet + sign * (depth - ordinary), sheet)
    return EndplateDefect(
        endplate,
        deepest,
        float(opening.any(1).sum() * STEP_MM[1]),
        float(opening.any(0).sum() * STEP_MM[2]),
        float(opening.sum() / core.sum()),
        rest,
    ), repaired
