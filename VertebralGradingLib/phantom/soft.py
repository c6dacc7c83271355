"""Soft tissue around the spine, in coordinates that follow it: lungs, vessels, muscle, fat, bowel, canal, skin, table.

Layouts and HU ranges are assumed from general CT anatomy; they are meant to vary more than people do. HU of fat, muscle
and lung follow the usual ranges (-110, 55, -850).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.bone import soft
from VertebralGradingLib.phantom.texture import noise

TISSUES = (
    "air", "fat", "muscle", "organ", "lung", "vessel", "canal", "disc", "body", "arch", "rib", "gas", "metal", "table",
    "skin",
)  # fmt: skip
"""Tissue labels: the place in this tuple is the label."""


class Layers:
    """HU and tissue label of points, painted layer over layer."""

    def __init__(self, hu: Tensor, tissue: str, blur: Tensor) -> None:
        self.hu, self.blur = hu, blur
        self.tissue = torch.full(hu.shape, TISSUES.index(tissue), dtype=torch.uint8, device=hu.device)

    def paint(self, depth: Tensor, hu: Any, tissue: str) -> None:
        """Cover what lies inside (``depth`` > 0, mm)."""
        self.cover(soft(depth, self.blur), hu, tissue)

    def cover(self, share: Tensor, hu: Any, tissue: str) -> None:
        """Cover a share (0..1) of each point."""
        self.hu = self.hu + share * (hu - self.hu)
        self.tissue = torch.where(share > 0.5, TISSUES.index(tissue), self.tissue)


def paint_trunk(place: dict[str, Tensor], p: dict[str, Tensor], blur: Tensor) -> Layers:
    """Everything but bone and discs.

    Args:
        place: ``u``, ``v`` (mm right and anterior of the middle of the body at that height), ``s`` (healed length
            above the sacrum, mm), ``y`` (``v`` plus what the back is flatter than the spine), ``level`` (its axis),
            ``a``, ``b`` (half depth and width of the body there), ``canal`` (canal depth), all (..., N).
        p: soft-tissue numbers by name, (..., 1).
        blur: (..., 1) mm.
    """
    u, v, s, y, level, a = (place[name] for name in ("u", "v", "s", "y", "level", "a"))
    x0, y0, z0 = u + p["seed_x"], v + p["seed_y"], s + p["seed_z"]
    large = noise(x0, y0, z0, 9.0)
    middle = noise(z0, x0, y0, 3.2)
    place["wave"] = large
    rear = -a - place["canal"]
    # 1 in the chest, 0 in the belly: the diaphragm rises towards its middle
    chest = torch.sigmoid((p["diaphragm"] - level + p["dome"] * ((v - a) / 60.0).clamp(-0.6, 1.0)) * 4.0)
    trunk = 1.0 - torch.sqrt((u / p["half_width"]) ** 2 + ((y - 15.0) / p["half_depth"]) ** 2 + 1e-6)
    back = y - rear + p["muscle_back"] + p["fat_back"]
    inside = torch.minimum(trunk * p["half_depth"], back)
    organ = p["organ_hu"] + 8.0 * middle
    fatty = p["fat_hu"] + 7.0 * middle
    amount = large + 1.1 * (p["organ_share"] - 0.5) * 2.0
    flesh = torch.sigmoid(amount * 9.0)
    paint = Layers(fatty + flesh * (organ - fatty), "fat", blur)
    paint.tissue = torch.where(flesh > 0.5, TISSUES.index("organ"), paint.tissue)
    belly = (1.0 - chest) * torch.sigmoid((v - a - 24.0) / 2.0)
    bowel = (middle * 0.35 + noise(y0, z0, x0, 6.5) - 1.9 + p["gas_share"]) * 5.0
    paint.cover(torch.sigmoid(bowel * 3.0) * belly, -880.0, "gas")
    _chest(paint, place, p, chest, middle)
    _vessels(paint, place, p, chest, large)
    _muscles(paint, place, p, chest, rear, middle)
    _canal(paint, place, p, middle)
    paint.paint(-(inside - 2.0), p["fat_hu"] + 110.0, "skin")
    paint.paint(-inside, -1000.0, "air")
    under = back + p["table_gap"] + 6.0
    bed = torch.minimum(-under, under + 40.0)
    rim = torch.minimum(bed, 2.0 - bed)
    paint.paint(bed, p["table_hu"] - 850.0, "table")
    paint.paint(rim, p["table_hu"], "table")
    return paint


def _chest(paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], chest: Tensor, middle: Tensor) -> None:
    u, v, y, level, a, b = (place[name] for name in ("u", "v", "y", "level", "a", "b"))
    wall = 1.0 - torch.sqrt((u / (p["half_width"] - 22.0)) ** 2 + ((y - 15.0) / (p["half_depth"] - 20.0)) ** 2 + 1e-6)
    cavity = wall * 80.0
    cavity = torch.minimum(cavity, v + a + 6.0 + 0.25 * (u.abs() - 25.0).clamp_min(0.0))
    wide = b + p["lung_edge"] + (v / 55.0).clamp(0.0, 1.0) * 9.0 + 5.0 * place["wave"]
    outside_middle = u.abs() - wide
    apex = (level - 1.4) * 14.0
    lung = torch.minimum(torch.minimum(cavity, outside_middle), apex)
    # where the lungs meet behind the gullet, a sagittal plane shows lung in front of the spine
    recess = torch.minimum(7.0 - (v - a - 9.0 - 4.0 * place["wave"]).abs(), u - p["lung_recess"])
    lung = torch.maximum(lung, torch.minimum(recess, (level - 4.0) * 14.0))
    share = soft(lung, paint.blur) * chest
    paint.cover(chest * (1 - share) * torch.sigmoid(cavity / 3.0), 42.0 + 6.0 * middle, "organ")
    vessels = torch.sigmoid((middle - 1.6) * 6.0)
    paint.cover(share, p["lung_hu"] + vessels * 700.0 + 18.0 * middle, "lung")
    heart = 1.0 - torch.sqrt(((u + 12.0) / 52.0) ** 2 + ((v - a - 58.0) / 38.0) ** 2 + ((level - 7.6) / 2.6) ** 2)
    paint.cover(soft(heart * 40.0, paint.blur) * chest, p["heart_hu"], "vessel")
    airway = 8.5 - torch.sqrt((u - 3.0) ** 2 + (v - a - p["airway"]) ** 2 + 1e-6)
    airway = torch.minimum(airway, (5.0 - level) * 20.0)
    paint.cover(soft(airway, paint.blur) * chest, -990.0, "gas")
    gullet = 6.5 - torch.sqrt(((u + 6.0) / 1.2) ** 2 + (v - a - 7.5) ** 2 + 1e-6)
    paint.cover(soft(gullet, paint.blur) * chest, 38.0, "organ")
    paint.cover(soft(gullet - 4.4, paint.blur) * chest * torch.sigmoid(3.0 * middle), -600.0, "gas")


def _vessels(paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], chest: Tensor, large: Tensor) -> None:
    u, v, level, a, b = (place[name] for name in ("u", "v", "level", "a", "b"))
    r = p["aorta_mm"] * (1.0 - 0.02 * (level - 4.0).clamp_min(0.0))
    upper = ((12.0 - level) / 6.0).clamp(0.0, 1.0)
    at_u = p["aorta_side"] - upper * (b * 0.7)
    at_v = a + r + 2.5 - upper * (0.5 * a) + 3.0 * large
    away = torch.sqrt((u - at_u) ** 2 + (v - at_v) ** 2 + 1e-6)
    below_arch = torch.sigmoid((level - 3.6) * 5.0) * torch.sigmoid((16.3 - level) * 5.0)
    fat = soft(r + 4.0 - away, paint.blur) * below_arch * (1.0 - chest)
    paint.cover(fat, p["fat_hu"], "fat")
    paint.cover(soft(r - away, paint.blur) * below_arch, p["aorta_wall_hu"], "vessel")
    paint.cover(soft(r - 1.6 - away, paint.blur) * below_arch, p["aorta_hu"], "vessel")
    caval = 11.0 - torch.sqrt(((u - 16.0) / 1.25) ** 2 + (v - a - 10.0) ** 2 + 1e-6)
    paint.cover(soft(caval, paint.blur) * torch.sigmoid((level - 10.0) * 5.0) * (level < 16.6), p["vein_hu"], "vessel")


def _muscles(
    paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], chest: Tensor, rear: Tensor, middle: Tensor
) -> None:
    u, v, y, level, a, b = (place[name] for name in ("u", "v", "y", "level", "a", "b"))
    value = p["muscle_hu"] + 5.0 * middle
    size = p["psoas"] * ((level - 11.5) / 4.5).clamp(0.0, 1.2)
    psoas = size - torch.sqrt(((u.abs() - b - size * 0.85) / 0.9) ** 2 + ((v + 0.25 * a) / 1.15) ** 2 + 1e-6)
    paint.cover(soft(psoas, paint.blur) * (size > 1.0), value, "muscle")
    crus = 5.0 - torch.sqrt(((u.abs() - 0.75 * b) / 1.6) ** 2 + (v - a - 3.0) ** 2 + 1e-6)
    paint.cover(soft(crus, paint.blur) * torch.sigmoid((level - 11.0) * 4.0) * (level < 14.8), value, "muscle")
    behind = torch.minimum(-(v + 0.35 * a) - 0.15 * u.abs(), 62.0 - u.abs())
    depth = torch.minimum(behind, y - rear + p["muscle_back"])
    strands = torch.sigmoid((noise(0.5 * u + p["seed_x"], v + p["seed_z"], 0.25 * place["s"], 2.2) - 2.2
                             + 2.2 * p["streaks"]) * 4.0)  # fmt: skip
    flesh = value + strands * (p["fat_hu"] - value)
    paint.cover(soft(depth, paint.blur), flesh, "muscle")
    side = torch.minimum(u.abs() - 55.0, y - rear + p["muscle_back"] * 0.7)
    wall = 1.0 - torch.sqrt((u / (p["half_width"] - 8.0)) ** 2 + ((y - 15.0) / (p["half_depth"] - 8.0)) ** 2 + 1e-6)
    inner = 1.0 - torch.sqrt((u / (p["half_width"] - 22.0)) ** 2 + ((y - 15.0) / (p["half_depth"] - 20.0)) ** 2 + 1e-6)
    paint.cover(soft(torch.minimum(torch.minimum(wall, -inner) * 80.0, side), paint.blur), value, "muscle")
    midline = torch.minimum(1.0 + 5.0 * p["midline_fat"] - u.abs() * 0.9, -(v - rear) + 2.0)
    paint.cover(soft(torch.minimum(midline, depth), paint.blur) * 0.85, p["fat_hu"] + 25.0, "fat")


def _canal(paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], middle: Tensor) -> None:
    u, v, a, level, depth, width = (place[name] for name in ("u", "v", "a", "level", "canal", "canal_width"))
    at = v + a + depth / 2 + 0.5
    r = torch.sqrt((u / (0.5 * width)) ** 2 + (at / (0.5 * depth)) ** 2 + 1e-6)
    paint.paint((1.0 - r) * depth / 2, p["fat_hu"] * p["canal_fat"] + 25.0, "canal")
    paint.paint((1.0 - r) * depth / 2 - 1.6, p["sac_hu"] + 4.0 * middle, "canal")
    cord = (4.6 - torch.sqrt((u / 1.25) ** 2 + at**2 + 1e-6)) - 2.0 * (level - 12.5).clamp_min(0.0)
    paint.cover(soft(cord, paint.blur) * 0.8, p["sac_hu"] + 16.0, "canal")
