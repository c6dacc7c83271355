"""Named columns of the per-vertebra table, and a view that reads them out of arrays and tensors alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHAPE = (
    # body: half sizes at the rim, height between the rim planes on the axis, slopes of that height
    "half_depth", "half_width", "height", "wedge", "side_wedge",
    "waist", "square", "back_flat", "taper", "corner",
    "sup_depth", "sup_center", "sup_flat", "inf_depth", "inf_center", "inf_flat", "rim", "rough", "phase",
    # arch
    "canal_depth", "canal_width", "pedicle_height", "pedicle_width", "pedicle_up", "lamina", "spinous", "spinous_drop",
    "spinous_height", "transverse", "facet", "rib", "rib_width", "rib_depth", "rib_drop",
    # bone
    "core_hu", "cortex_hu", "shell", "plate_shell", "arch_hu", "texture_hu", "texture_mm", "tex_u", "tex_v", "tex_w",
    "vein",
    # disc below, and the turn of this vertebra on the one below (radians)
    "disc", "disc_hu", "disc_bulge", "bend", "side_bend", "turn",
    # arch: sheets, blade, joints; its bone
    "lamina_height", "lamina_tilt", "spinous_thick", "spinous_tip", "transverse_back", "transverse_end", "facet_gap",
    "facet_turn", "arch_shell", "arch_cortex",
    # how the shell and the trabeculae vary within a body
    "shell_front", "shell_wave", "tex_tall", "tex_coarse", "tex_skew", "core_tilt", "core_plate",
)  # fmt: skip
FRACTURE = (
    "wedge_mm", "wedge_start", "wedge_curve", "bowl_mm", "bowl_center", "bowl_size", "crush_mm", "step_mm", "step_at",
    "lateral", "superior", "kyphosis", "band_hu", "band_mm", "buckle_mm", "retro_mm", "bulge",
    "cleft_mm", "cleft_hu", "cleft_at", "cleft_front", "line_hu", "ragged",
)  # fmt: skip
AMOUNTS = (
    "wedge_mm", "bowl_mm", "crush_mm", "step_mm", "band_hu", "buckle_mm", "retro_mm", "bulge", "cleft_mm", "line_hu",
    "ragged",
)  # fmt: skip
"""Columns that are 0 when a vertebra is not broken; all others of FRACTURE only say how."""
MIMIC = (
    "pit_sup", "pit_sup_v", "pit_sup_u", "pit_sup_rv", "pit_sup_ru",
    "pit_inf", "pit_inf_v", "pit_inf_u", "pit_inf_rv", "pit_inf_ru", "pit_rim_hu",
    "lip_sup", "lip_inf", "bridge", "bridge_at", "sclerosis_hu", "sclerosis_mm", "fused",
    "gas", "gas_center", "gas_hu", "disc_calcium",
    "lesion", "lesion_u", "lesion_v", "lesion_w", "lesion_hu", "lesion_stripes", "lesion_rough",
    "screw", "screw_hu",
)  # fmt: skip
COLUMNS: tuple[str, ...] = (*SHAPE, *FRACTURE, *MIMIC)
"""What is known of one vertebra; lengths in mm, angles in radians, HU. 0 means "not there" for fractures and mimics."""

DEFAULTS = {
    "wedge_start": -1.0, "bowl_size": 0.9, "step_at": 0.5, "superior": 1.0, "kyphosis": 0.7, "band_mm": 2.5,
    "cleft_at": 4.0, "cleft_hu": -800.0, "cleft_front": 0.3, "sclerosis_mm": 2.0, "gas_hu": -600.0, "lesion_hu": 60.0,
    "screw_hu": 3000.0, "lamina_height": 0.8, "lamina_tilt": 0.3, "spinous_thick": 2.6, "spinous_tip": 0.8,
    "transverse_end": 0.9, "facet_gap": 1.5, "facet_turn": 0.3, "arch_shell": 1.2, "arch_cortex": 1.0,
    "shell_front": 1.0, "tex_tall": 0.65, "tex_coarse": 0.45, "core_plate": 0.35,
}  # fmt: skip
"""Columns that say how; they need a sensible number even where nothing is broken."""

_INDEX = {name: n for n, name in enumerate(COLUMNS)}


def index(name: str) -> int:
    """Place of a column."""
    return _INDEX[name]


def indices(names: Sequence[str]) -> list[int]:
    """Places of several columns."""
    return [_INDEX[name] for name in names]


class View:
    """Columns by attribute: ``View(table).half_depth`` is ``table[..., k]``, for numpy arrays and torch tensors."""

    __slots__ = ("table",)

    def __init__(self, table: Any) -> None:
        self.table = table

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.table[..., _INDEX[name]]
