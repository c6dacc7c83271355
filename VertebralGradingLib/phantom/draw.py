"""Drawing a normal spine: sizes, curvature, density and soft tissue of one person.

Means come from :mod:`tables`; spreads named there. Appearance ranges (HU, shell, texture) are those that worked in the
early probe (sheet 7), widened: what is not varied here would be taken for signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralGradingLib.morphometry.heights import INSET
from VertebralGradingLib.morphometry.norms import SD_ANTERIOR
from VertebralGradingLib.phantom.alignment import align
from VertebralGradingLib.phantom.body import BACK_WAIST
from VertebralGradingLib.phantom.columns import COLUMNS, DEFAULTS, index
from VertebralGradingLib.phantom.details import Details
from VertebralGradingLib.phantom.drawer import Drawer
from VertebralGradingLib.phantom.parameters import TRUNK, SpineParameters
from VertebralGradingLib.phantom.tables import (
    CONCAVITY_INFERIOR_MM,
    CONCAVITY_SUPERIOR_MM,
    CONTEXT_ABOVE,
    CONTEXT_BELOW,
    PART_SD,
    SEX_SHIFT,
    SIZE_SD,
    usual,
)
from VertebralGradingLib.spine.anatomy import axis_position

_LORDOSIS_SHARE = {"L6": 0.30, "L5": 0.34, "L4": 0.23, "L3": 0.18, "L2": 0.14, "L1": 0.11}
_KYPHOSIS_SHARE = dict(zip((f"T{n}" for n in range(1, 14)), (3, 5, 8, 10, 12, 13, 13, 11, 9, 7, 5, 3, 3), strict=True))
"""How much each segment (body and disc below) adds to lordosis L1-S1 and, in percent, to kyphosis T1-T12: assumed."""


_NARROW_MM = 0.4
"""Height of a disc at its narrow edge, at the least."""
_BENT_MM = 4.0
"""What bending alone may add to a disc's height."""


@dataclass(frozen=True)
class SpineOptions:
    """What may vary.

    Attributes:
        appearance: spread of HU, shells, textures and soft tissue: 1 the full ranges, 0 one fixed appearance.
        geometry: the same for scoliosis, rotation, curvature and disc heights.
        variants: probability of T13 and of L6.
        density_hu: range of the trabecular CT number; low ones are drawn more often.
    """

    appearance: float = 1.0
    geometry: float = 1.0
    variants: float = 0.04
    density_hu: tuple[float, float] = (-15.0, 330.0)


def draw_spine(seed: int, options: SpineOptions | None = None) -> SpineParameters:
    """Draw one unfractured spine, C4 to S3.

    Args:
        seed: fixes everything.
        options: what may vary.
    """
    options = options or SpineOptions()
    rng = np.random.default_rng([seed, 1])
    shape, look = Drawer(rng, options.geometry), Drawer(np.random.default_rng([seed, 2]), options.appearance)
    levels = _levels(rng, options)
    table = np.zeros((len(levels), len(COLUMNS)))
    sex = 1.0 if rng.random() < 0.5 else -1.0
    size = np.exp(sex * SEX_SHIFT + rng.normal() * np.sqrt(SIZE_SD**2 - SEX_SHIFT**2))
    person = _Person(size, rng, shape)
    bone = _bone(look, options)
    details = Details(seed, options.geometry, options.appearance)
    for n, level in enumerate(levels):
        values = DEFAULTS | person.vertebra(level) | bone.vertebra(level, look)
        values |= details.vertebra(level, values)
        for name, value in values.items():
            table[n, index(name)] = value
    _curve(table, levels, shape)
    trunk = _trunk(look, size, details.trunk())
    bare = SpineParameters(seed, tuple(levels), table, trunk, _root(table, levels, shape))
    middle = align(bare).frames[levels.index("L1"), :3, 3]
    root = bare.root.copy()
    root[:3] -= middle
    return SpineParameters(seed, tuple(levels), table, trunk, root)


def _levels(rng: np.random.Generator, options: SpineOptions) -> list[str]:
    thoracic = [f"T{n}" for n in range(1, 14 if rng.random() < options.variants else 13)]
    lumbar = [f"L{n}" for n in range(1, 7 if rng.random() < options.variants else 6)]
    return [*CONTEXT_ABOVE, *thoracic, *lumbar, *CONTEXT_BELOW]


class _Person:
    """Proportions of one person; each vertebra varies a little around them."""

    def __init__(self, size: float, rng: np.random.Generator, shape: Drawer) -> None:
        self.size, self.rng, self.shape = size, rng, shape
        self.wide, self.deep = (float(np.exp(rng.normal(0, PART_SD))) for _ in range(2))
        self.front = rng.normal(0, 0.6 * SD_ANTERIOR)
        self.concave = rng.normal(0, 0.03)
        self.disc = shape.uniform(0.42, 1.15)
        self.thin = shape.uniform(0.3, 0.9)  # thoracic: 2-3.5 mm from bone to bone at T3-T9 of two development CTs
        self.waist = shape.uniform(0.7, 2.0)
        self.square = shape.uniform(0.45, 0.8)
        self.rim = shape.uniform(0.80, 0.92)
        self.flat = shape.uniform(0.1, 0.9)
        self.ribs = (shape.uniform(105, 130), shape.uniform(78, 95), shape.uniform(0.25, 0.5))

    def vertebra(self, level: str) -> dict[str, float]:
        """Columns of shape."""
        u, rng, shape = usual(level), self.rng, self.shape
        position = axis_position(level) if level[0] != "S" else 18.0
        thoracic = float(np.clip((13.0 - position) / 4.0, 0, 1))

        def length(name: str, sd: float = PART_SD, factor: float = 1.0) -> float:
            return float(u[name] * self.size * factor * np.exp(rng.normal(0, sd)))

        depth, width = length("depth", 0.03, self.deep), length("width", 0.03, self.wide)
        posterior = length("posterior", 0.03)
        anterior = posterior * u["anterior"] / u["posterior"] * float(np.exp(self.front + rng.normal(0, 0.03)))
        ratio = float(np.clip(u["middle"] / max(u["anterior"], u["posterior"]) + self.concave + rng.normal(0, 0.018),
                              0.74, 0.98))  # fmt: skip
        middle = ratio * max(anterior, posterior)
        share = CONCAVITY_SUPERIOR_MM / (CONCAVITY_SUPERIOR_MM + CONCAVITY_INFERIOR_MM)
        share = float(np.clip(rng.normal(share + 0.08, 0.09), 0.1, 0.75))
        if level[0] == "S":
            middle = 0.97 * (anterior + posterior) / 2
        pedicle_height = length("pedicle_height", 0.08)
        back_flat = float(np.clip(rng.normal(0.16 - 0.05 * (position > 16), 0.04), 0.02, 0.3))
        waist = self.waist / (depth / 2) * float(np.exp(rng.normal(0, 0.15)))
        centers = (rng.normal(-0.08, 0.06), rng.normal(-0.14, 0.06))
        height, wedge, dish = _shape_of(
            (anterior, middle, posterior), depth / 2, back_flat, waist, centers, (share, 1 - share), self.rim, self.flat
        )
        return {
            "half_depth": depth / 2,
            "half_width": width / 2,
            "height": height,
            "wedge": wedge,
            "side_wedge": rng.normal(0, 0.008),
            "waist": waist,
            "square": float(np.clip(self.square + rng.normal(0, 0.05), 0.2, 0.9)),
            "back_flat": back_flat,
            "taper": float(np.clip(rng.normal(0.20 * thoracic + 0.02, 0.04), -0.05, 0.35)),
            "corner": float(np.clip(0.035 * depth * np.exp(rng.normal(0, 0.3)), 0.3, 0.05 * depth)),
            "sup_depth": dish * share,
            "sup_center": centers[0],
            "sup_flat": self.flat,
            "inf_depth": dish * (1 - share),
            "inf_center": centers[1],
            "inf_flat": self.flat,
            "rim": self.rim,
            "rough": abs(rng.normal(0, 0.18)),
            "phase": rng.uniform(0, 6.28),
            "canal_depth": length("canal_depth", 0.09),
            "canal_width": length("canal_width", 0.07),
            "pedicle_height": pedicle_height,
            "pedicle_width": length("pedicle_width", 0.15),
            "pedicle_up": 0.5 * height - 0.5 * pedicle_height - 0.06 * height,
            "lamina": shape.uniform(4.5, 8.5),
            "spinous": max(length("spinous", 0.08) - depth / 2 - u["canal_depth"] * self.size, 12.0),
            "spinous_drop": (21.0 * thoracic + 2.0) * np.exp(rng.normal(0, 0.2)),
            "spinous_height": posterior * u["spinous_height"] * np.exp(rng.normal(0, 0.2)),
            "transverse": (30.0 + 8.0 * (1 - thoracic)) * self.size * np.exp(rng.normal(0, 0.06)),
            "facet": (5.5 + 1.8 * (1 - thoracic)) * np.exp(rng.normal(0, 0.10)),
            "rib": float(level[0] == "T"),
            "rib_width": self.ribs[0] * (0.55 + 0.45 * float(np.clip((position + 1) / 8, 0, 1))),
            "rib_depth": self.ribs[1] * (0.6 + 0.4 * float(np.clip((position + 1) / 8, 0, 1))),
            "rib_drop": self.ribs[2],
            "disc": max(length("disc", 0.14, self.disc * (1.0 - (1.0 - self.thin) * thoracic)), 0.8),
            "turn": 0.0,
        }


def _shape_of(
    heights: tuple[float, float, float],
    half_depth: float,
    back_flat: float,
    waist: float,
    centers: tuple[float, float],
    shares: tuple[float, float],
    rim: float,
    flat: float,
) -> tuple[float, float, float]:
    """Height, wedge and dish depth whose anterior, middle and posterior heights are the given ones.

    The heights are taken where :mod:`morphometry` does: inside the walls at the waist, where dishes still reach.
    """
    front, back = 1.0 - waist, -(1.0 - BACK_WAIST * waist) * (1.0 - back_flat)
    places = np.array([front - INSET * (front - back), (front + back) / 2, back + INSET * (front - back)])
    dish = np.zeros(3)
    for center, share in zip(centers, shares, strict=True):
        rest = np.clip(1.0 - ((places - center) / rim) ** 2, 0.0, None)
        dish += share * rest * (1.0 + flat * (1.0 - rest))
    rows = np.column_stack([np.ones(3), places * half_depth, -dish])
    height, wedge, depth = np.linalg.solve(rows, np.array(heights))
    if depth < 0:  # flatter than flat: no dish, a line through the three
        height, wedge = np.linalg.lstsq(rows[:, :2], np.array(heights), rcond=None)[0]
        depth = 0.0
    return float(height), float(wedge), float(depth)


@dataclass(frozen=True)
class _Bone:
    core: float
    cortex: float
    shell: float
    plate: float
    texture: float
    texture_mm: float
    disc: float
    slope: float

    def vertebra(self, level: str, look: Drawer) -> dict[str, float]:
        position = axis_position(level) if level[0] != "S" else 18.0
        core = self.core * (1.0 + self.slope * (position - 11.0) / 10.0) + look.normal(0, 9.0)
        return {
            "core_hu": core,
            "cortex_hu": self.cortex * np.exp(look.normal(0, 0.06)),
            "shell": self.shell * np.exp(look.normal(0, 0.12)),
            "plate_shell": self.plate * np.exp(look.normal(0, 0.12)),
            "texture_hu": self.texture,
            "texture_mm": self.texture_mm,
            "tex_u": look.rng.uniform(0, 400),
            "tex_v": look.rng.uniform(0, 400),
            "tex_w": look.rng.uniform(0, 400),
            "vein": look.uniform(0.0, 220.0),
            "disc_hu": self.disc + look.normal(0, 8.0),
            "disc_bulge": look.uniform(-1.2, 1.6),
        }


def _bone(look: Drawer, options: SpineOptions) -> _Bone:
    low, high = options.density_hu
    core = low + (high - low) * look.uniform(0.0, 1.0) ** 1.3
    cortex = look.uniform(250.0, 1100.0) + 1.6 * core
    return _Bone(
        core,
        cortex,
        look.log_uniform(0.4, 1.4),
        look.log_uniform(0.40, 1.9),
        look.uniform(3.0, 40.0) + 0.20 * core,
        look.uniform(2.2, 4.2),
        look.uniform(40.0, 120.0),
        look.normal(-0.18, 0.12),
    )


def _curve(table: np.ndarray, levels: list[str], shape: Drawer) -> None:
    """Sagittal, coronal and axial turns of every vertebra on the one below."""
    lordosis, kyphosis = np.radians(shape.normal(46.0, 10.0)), np.radians(shape.normal(42.0, 9.0))
    cobb = np.radians(abs(shape.normal(0.0, 7.0))) * (3.0 if shape.chance(0.08) else 1.0)
    apex, length = shape.rng.uniform(5, 15), shape.rng.uniform(5, 9)
    sign = 1.0 if shape.chance(0.5) else -1.0
    shares = {**_LORDOSIS_SHARE}
    total = sum(shares[level] for level in levels if level in shares)
    for n, level in enumerate(levels):
        row = table[n]
        body = 2 * np.arctan(row[index("wedge")] / 2)
        position = axis_position(level) if level[0] != "S" else 18.0
        if level in shares:
            segment = lordosis * shares[level] / total
        elif level in _KYPHOSIS_SHARE:
            segment = -kyphosis * _KYPHOSIS_SHARE[level] / 100.0
        elif level[0] == "C":
            segment = np.radians(shape.normal(3.0, 2.0))
        else:
            segment = np.radians(-14.0) if level != "S3" else 0.0
        segment += np.radians(shape.normal(0.0, 1.2))
        bend, half_depth = segment - body, row[index("half_depth")]
        # the disc keeps some height at its narrow edge, and is as high as the curve of the whole spine asks for
        row[index("disc")] = max(row[index("disc")], _NARROW_MM + min(abs(bend) * half_depth, _BENT_MM))
        limit = (row[index("disc")] - _NARROW_MM) / half_depth
        row[index("bend")] = float(np.clip(bend, -limit, limit))
        wave = np.cos(np.clip((position - apex) / length, -1.5, 1.5) * np.pi)
        row[index("side_bend")] = sign * cobb / length * 0.8 * np.sin((position - apex) / length * np.pi)
        row[index("side_bend")] += np.radians(shape.normal(0.0, 0.5))
        row[index("turn")] = sign * cobb * 0.07 * wave + np.radians(shape.normal(0.0, 0.6))


def _root(table: np.ndarray, levels: list[str], shape: Drawer) -> np.ndarray:
    """Place and turn of the lowest rim plane, such that the sacral endplate has its slope."""
    slope = np.radians(shape.normal(36.0, 7.0))
    sacral = [n for n, level in enumerate(levels) if level[0] == "S"]
    turned = sum(2 * np.arctan(table[n, index("wedge")] / 2) for n in sacral)
    turned += sum(table[n, index("bend")] for n in sacral[:-1])
    side = np.radians(shape.normal(0.0, 1.5))
    return np.array([0.0, 0.0, 0.0, slope + turned, side, np.radians(shape.normal(0.0, 2.0))])


def _trunk(look: Drawer, size: float, details: dict[str, float]) -> np.ndarray:
    fat = look.uniform(-120.0, -72.0)
    contrast = look.chance(0.5)
    aorta = look.uniform(120.0, 480.0) if contrast else look.uniform(32.0, 52.0)
    values = {
        "fat_back": look.log_uniform(5.0, 45.0),
        "muscle_back": look.uniform(28.0, 48.0) * size,
        "half_width": look.uniform(135.0, 190.0),
        "half_depth": look.uniform(95.0, 140.0),
        "lung_edge": look.uniform(-3.0, 12.0),
        "lung_recess": look.uniform(-20.0, 45.0),
        "diaphragm": look.uniform(10.4, 12.4),
        "dome": look.uniform(-1.8, 0.3),
        "lung_hu": look.uniform(-910.0, -760.0),
        "muscle_hu": look.uniform(22.0, 64.0) + (10.0 if contrast else 0.0),
        "fat_hu": fat,
        "organ_hu": look.uniform(20.0, 115.0) if contrast else look.uniform(12.0, 60.0),
        "aorta_mm": look.uniform(9.0, 17.0),
        "aorta_side": look.uniform(-14.0, -3.0),
        "aorta_hu": aorta,
        "aorta_wall_hu": look.uniform(40.0, 75.0) if look.chance(0.6) else look.uniform(120.0, 500.0),
        "vein_hu": look.uniform(35.0, 60.0) + (aorta * look.uniform(0.1, 0.5) if contrast else 0.0),
        "streaks": look.log_uniform(0.1, 1.0),
        "organ_share": look.uniform(0.15, 0.85),
        "gas_share": look.uniform(-0.3, 0.9),
        "sac_hu": look.uniform(8.0, 42.0),
        "canal_fat": look.uniform(0.0, 0.8),
        "psoas": look.uniform(9.0, 24.0),
        "heart_hu": aorta * look.uniform(0.6, 1.1) if contrast else look.uniform(34.0, 55.0),
        "airway": look.uniform(14.0, 24.0),
        "seed_x": look.rng.uniform(0, 500),
        "seed_y": look.rng.uniform(0, 500),
        "seed_z": look.rng.uniform(0, 500),
        "table_hu": look.uniform(-500.0, 150.0),
        "table_gap": look.uniform(-2.0, 6.0),
        "midline_fat": look.uniform(0.0, 1.0),
        **details,
    }
    return np.array([values[name] for name in TRUNK])
