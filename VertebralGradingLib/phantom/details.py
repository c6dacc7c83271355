"""Drawing what makes a spine look like no other: arches, joints, shells, trabeculae, fat planes, plaques.

Nothing here changes a body's shape or heights. Each group has random numbers of its own, so that a seed's vertebrae and
trunk stay what they are when a detail is added. Sizes are assumed and wide unless :mod:`tables` names a source.
"""

from __future__ import annotations

import numpy as np

from VertebralGradingLib.phantom.drawer import Drawer
from VertebralGradingLib.spine.anatomy import axis_position


class Details:
    """Details of one person; each vertebra varies a little around them.

    Args:
        seed: of the spine.
        geometry: spread of shapes, 0 to 1.
        appearance: spread of looks, 0 to 1.
    """

    def __init__(self, seed: int, geometry: float, appearance: float) -> None:
        self.shape = Drawer(np.random.default_rng([seed, 3]), geometry)
        self.look = Drawer(np.random.default_rng([seed, 4]), appearance)
        shape, look = self.shape, self.look
        self.lamina_height, self.lamina_tilt = shape.uniform(0.62, 0.92), shape.uniform(0.12, 0.5)
        self.spinous_thick, self.gap = shape.uniform(1.8, 4.2), shape.uniform(0.2, 3.0)
        self.turn, self.back = shape.uniform(0.45, 1.15), shape.uniform(3.0, 15.0)
        self.arch_shell, self.arch_cortex = look.log_uniform(0.7, 3.6), look.uniform(0.8, 1.35)
        self.arch_core = look.uniform(0.0, 0.4)
        self.front, self.wave = look.log_uniform(0.45, 1.5), look.uniform(0.0, 0.8)
        self.tall, self.coarse = look.log_uniform(0.12, 1.0), look.uniform(0.1, 0.9)
        self.texture = look.log_uniform(0.2, 1.15)
        self.skew, self.tilt = look.uniform(-0.45, 0.45), look.normal(-0.08, 0.10)
        self.plate = look.uniform(0.0, 0.8)

    def vertebra(self, level: str, bone: dict[str, float]) -> dict[str, float]:
        """Columns of arch and bone, to go with the columns in ``bone`` drawn before."""
        shape, look = self.shape, self.look
        position = axis_position(level) if level[0] != "S" else 18.0
        thoracic = float(np.clip((13.0 - position) / 3.0, 0, 1))  # joints turn from T10 to L1
        lumbar_tip, thoracic_tip = shape.uniform(0.75, 1.2), shape.uniform(0.45, 0.95)
        return {
            "lamina_height": (self.lamina_height + 0.12 * thoracic) * np.exp(shape.normal(0.0, 0.05)),
            "lamina_tilt": self.lamina_tilt + shape.normal(0.0, 0.04),
            "spinous_drop": bone["spinous_drop"] + (1.0 - thoracic) * shape.uniform(-1.0, 10.0),
            "spinous_thick": self.spinous_thick * np.exp(shape.normal(0.0, 0.10)),
            "spinous_tip": thoracic * thoracic_tip + (1.0 - thoracic) * lumbar_tip,
            "transverse_back": thoracic * self.back + (1.0 - thoracic) * shape.uniform(-6.0, 4.0),
            "transverse_end": thoracic * 0.95 + (1.0 - thoracic) * shape.uniform(0.45, 0.8),
            "facet_gap": max(self.gap + shape.normal(0.0, 0.5), 0.0),
            "facet_turn": (1.0 - thoracic) * self.turn + thoracic * 0.15 + shape.normal(0.0, 0.08),
            "arch_shell": self.arch_shell * np.exp(look.normal(0.0, 0.12)),
            "arch_hu": 0.8 * bone["core_hu"] + self.arch_core * bone["cortex_hu"],
            "arch_cortex": self.arch_cortex * np.exp(look.normal(0.0, 0.05)),
            "shell_front": self.front * np.exp(look.normal(0.0, 0.12)),
            "shell_wave": self.wave,
            "texture_hu": self.texture * bone["texture_hu"],
            "tex_tall": self.tall,
            "tex_coarse": self.coarse,
            "tex_skew": self.skew,
            "core_tilt": self.tilt + look.normal(0.0, 0.04),
            "core_plate": self.plate,
        }

    def trunk(self) -> dict[str, float]:
        """Soft-tissue numbers."""
        look = self.look
        return {
            "gutter": look.uniform(0.1, 1.0),
            "fat_lines": look.uniform(-1.2, 0.35),
            "epidural": look.uniform(0.0, 5.0),
            "plaque": look.uniform(-1.0, 1.0),
            "chest_fat": look.uniform(-1.6, 1.0),
            "ligament": look.uniform(-1.0, 1.6),
            "chest_hu": look.uniform(12.0, 55.0),
        }
