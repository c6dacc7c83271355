"""Soft tissue around the spine, in coordinates that follow it: lungs, vessels, muscle, fat, bowel, canal, skin, table.

Layouts and HU ranges are assumed from general CT anatomy; they are meant to vary more than people do. HU of fat, muscle
and lung follow the usual ranges (-110, 55, -850).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.bone import soft
from VertebralGradingLib.phantom.points import TAIL
from VertebralGradingLib.phantom.texture import noise

TISSUES = (
    "air", "fat", "muscle", "organ", "lung", "vessel", "canal", "disc", "body", "arch", "rib", "gas", "metal", "table",
    "skin",
)  # fmt: skip
"""Tissue labels: the place in this tuple is the label."""

_LITTLE = 5e-6


class Layers:
    """HU and tissue label (float) of points, painted layer over layer.

    Args:
        hu: of what lies lowest; it is changed.
        tissue: its tissue.
        blur: standard deviation of the scanner's blur (mm).
        skip: look first whether a layer reaches any point; that makes an accelerator wait.
    """

    def __init__(self, hu: Tensor, tissue: str, blur: Tensor, skip: bool = False) -> None:
        self.hu, self.blur, self.skip = hu, blur, skip
        self.tissue = torch.full_like(hu, TISSUES.index(tissue))
        self.tail = -TAIL * float(blur) if skip else 0.0

    def reaches(self, depth: Tensor) -> bool:
        """Whether some point may lie in a layer or its blur, ``depth`` mm inside it."""
        return not self.skip or float(depth.amax()) > self.tail

    def paint(self, depth: Tensor, hu: Any, tissue: str) -> None:
        """Cover what lies inside (``depth`` > 0, mm)."""
        self.blend(depth, None, hu, tissue)

    def blend(self, depth: Tensor, share: Any, hu: Any, tissue: str) -> None:
        """Cover a share of what lies inside; None for all of it."""
        if self.reaches(depth):
            inside = soft(depth, self.blur)
            self.cover(inside if share is None else inside * share, hu, tissue)

    def cover(self, share: Tensor, hu: Any, tissue: str) -> None:
        """Cover a share (0..1) of each point."""
        self.hu.addcmul_(share, hu - self.hu)
        self.mark(share, tissue)

    def mark(self, share: Tensor, tissue: str) -> None:
        """Change only the tissue, where the share is above one half."""
        self.tissue.addcmul_(share.round(), TISSUES.index(tissue) - self.tissue)


def paint_trunk(place: dict[str, Tensor], p: dict[str, Tensor], blur: Tensor, skip: bool = False) -> Layers:
    """Everything but bone and discs.

    Args:
        place: ``u``, ``v`` (mm right and anterior of the middle of the body at that height), ``s`` (healed length
            above the sacrum, mm), ``y`` (``v`` plus what the back is flatter than the spine), ``level`` (its axis),
            ``a``, ``b`` (half depth and width of the body there), ``canal`` (canal depth), all (..., N).
        p: soft-tissue numbers by name, (..., 1).
        blur: (..., 1) mm.
        skip: leave out layers that reach none of the points (:class:`Layers`).
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
    paint = Layers(fatty + flesh * (organ - fatty), "fat", blur, skip)
    paint.mark(flesh, "organ")
    belly = (1.0 - chest) * torch.sigmoid((v - a - 24.0) / 2.0)
    if not skip or float(belly.amax()) > _LITTLE:
        bowel = (middle * 0.35 + noise(y0, z0, x0, 6.5) - 1.9 + p["gas_share"]) * 5.0
        paint.cover(torch.sigmoid(bowel * 3.0) * belly, -880.0, "gas")
    if not skip or float(chest.amax()) > _LITTLE:
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
    # beside the spine the lungs reach back to the necks of the ribs
    gutter = 6.0 + p["gutter"] * (place["canal"] * torch.sigmoid((u.abs() - b - 9.0) / 3.0))
    cavity = torch.minimum(cavity, v + a + gutter + 0.25 * (u.abs() - 25.0).clamp_min(0.0) + 2.0 * place["wave"])
    wide = b + p["lung_edge"] + (v / 55.0).clamp(0.0, 1.0) * 9.0 + 5.0 * place["wave"]
    outside_middle = u.abs() - wide
    apex = (level - 1.4) * 14.0
    lung = torch.minimum(torch.minimum(cavity, outside_middle), apex)
    # where the lungs meet behind the gullet, a sagittal plane shows lung in front of the spine
    recess = torch.minimum(7.0 - (v - a - 9.0 - 4.0 * place["wave"]).abs(), u - p["lung_recess"])
    lung = torch.maximum(lung, torch.minimum(recess, (level - 4.0) * 14.0))
    share = soft(lung, paint.blur) * chest
    tissue = torch.sigmoid((middle - place["wave"] - p["chest_fat"]) * 4.0)
    tissue = p["fat_hu"] + 6.0 * middle + tissue * (p["chest_hu"] - p["fat_hu"])
    paint.cover(chest * (1 - share) * torch.sigmoid(cavity / 3.0), tissue, "organ")
    vessels = torch.sigmoid((middle - 1.6) * 6.0)
    paint.cover(share, p["lung_hu"] + vessels * 700.0 + 18.0 * middle, "lung")
    heart = 1.0 - torch.sqrt(((u + 12.0) / 52.0) ** 2 + ((v - a - 58.0) / 38.0) ** 2 + ((level - 7.6) / 2.6) ** 2)
    paint.blend(heart * 40.0, chest, p["heart_hu"], "vessel")
    airway = 8.5 - torch.sqrt((u - 3.0) ** 2 + (v - a - p["airway"]) ** 2 + 1e-6)
    airway = torch.minimum(airway, (5.0 - level) * 20.0)
    paint.blend(airway, chest, -990.0, "gas")
    gullet = 6.5 - torch.sqrt(((u + 6.0) / 1.2) ** 2 + (v - a - 7.5) ** 2 + 1e-6)
    paint.blend(gullet, chest, 38.0, "organ")
    paint.blend(gullet - 4.4, chest * torch.sigmoid(3.0 * middle), -600.0, "gas")


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
    paint.blend(r - away, below_arch, p["aorta_wall_hu"], "vessel")
    paint.blend(r - 1.6 - away, below_arch, p["aorta_hu"], "vessel")
    # plaques: spots of the wall, more of them below
    spots = torch.sin(0.33 * (u - at_u) + 0.21 * v + p["seed_x"]) * torch.sin(0.17 * place["s"] + p["seed_y"])
    few = 1.25 - 0.3 * p["plaque"] - 0.02 * (level - 8.0)
    plaque = 2.0 - (r - 1.0 - away).abs() - 12.0 * (few - spots).clamp_min(0.0)
    paint.blend(plaque, below_arch, 650.0, "vessel")
    caval = 11.0 - torch.sqrt(((u - 16.0) / 1.25) ** 2 + (v - a - 10.0) ** 2 + 1e-6)
    paint.blend(caval, torch.sigmoid((level - 10.0) * 5.0) * (level < 16.6), p["vein_hu"], "vessel")


def _muscles(
    paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], chest: Tensor, rear: Tensor, middle: Tensor
) -> None:
    u, v, y, level, a, b = (place[name] for name in ("u", "v", "y", "level", "a", "b"))
    value = p["muscle_hu"] + 5.0 * middle
    size = p["psoas"] * ((level - 11.5) / 4.5).clamp(0.0, 1.2)
    away = torch.sqrt(((u.abs() - b - size * 0.85) / 0.9) ** 2 + ((v + 0.25 * a) / 1.15) ** 2 + 1e-6)
    psoas = size * (1.0 + 0.12 * place["wave"]) - away
    paint.blend(psoas, (size > 1.0), value, "muscle")
    crus = 5.0 - torch.sqrt(((u.abs() - 0.75 * b) / 1.6) ** 2 + (v - a - 3.0) ** 2 + 1e-6)
    paint.blend(crus, torch.sigmoid((level - 11.0) * 4.0) * (level < 14.8), value, "muscle")
    front = a + (0.15 + 0.5 * chest) * place["canal"] + 2.5 * place["wave"] * torch.sigmoid((u.abs() - b - 4.0) / 3.0)
    behind = torch.minimum(-(v + front) - 0.12 * u.abs(), 62.0 - u.abs())
    depth = torch.minimum(behind, y - rear + p["muscle_back"])
    grain = noise(0.5 * u + p["seed_x"], v + p["seed_z"], 0.25 * place["s"], 2.2)
    strands = torch.sigmoid((grain - 2.2 + 2.2 * p["streaks"]) * 4.0)
    strands = torch.maximum(strands, 0.45 * torch.sigmoid((p["fat_lines"] - grain.abs()) * 8.0))
    flesh = value + strands * (p["fat_hu"] - value)
    paint.paint(depth, flesh, "muscle")
    side = torch.minimum(u.abs() - 55.0, y - rear + p["muscle_back"] * 0.7)
    wall = 1.0 - torch.sqrt((u / (p["half_width"] - 8.0)) ** 2 + ((y - 15.0) / (p["half_depth"] - 8.0)) ** 2 + 1e-6)
    inner = 1.0 - torch.sqrt((u / (p["half_width"] - 22.0)) ** 2 + ((y - 15.0) / (p["half_depth"] - 20.0)) ** 2 + 1e-6)
    paint.paint(torch.minimum(torch.minimum(wall, -inner) * 80.0, side), value, "muscle")
    midline = torch.minimum(1.0 + 5.0 * p["midline_fat"] - u.abs() * 0.9, -(v - rear) + 2.0)
    between = torch.sigmoid((p["ligament"] - middle) * 3.0)  # ligaments and fat between the spinous processes
    paint.blend(torch.minimum(midline, depth), between, p["fat_hu"] + 15.0, "fat")


def _canal(paint: Layers, place: dict[str, Tensor], p: dict[str, Tensor], middle: Tensor) -> None:
    u, v, a, level, depth, width = (place[name] for name in ("u", "v", "a", "level", "canal", "canal_width"))
    at = v + a + depth / 2 + 0.5
    r = torch.sqrt((u / (0.5 * width)) ** 2 + (at / (0.5 * depth)) ** 2 + 1e-6)
    paint.paint((1.0 - r) * depth / 2, p["fat_hu"] * p["canal_fat"] + 25.0, "canal")
    # fat behind the sac, where the laminae meet
    fat = p["epidural"] * torch.sigmoid(-at / 2.0) * (0.3 + 0.7 * torch.sigmoid(level - 12.0))
    paint.paint((1.0 - r) * depth / 2 - 1.6 - fat, p["sac_hu"] + 4.0 * middle, "canal")
    cord = (4.6 - torch.sqrt((u / 1.25) ** 2 + at**2 + 1e-6)) - 2.0 * (level - 12.5).clamp_min(0.0)
    paint.blend(cord, 0.8, p["sac_hu"] + 16.0, "canal")
