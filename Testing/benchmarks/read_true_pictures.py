"""How far from its grade the body network reads true pictures: what a drawn picture may be off too, and be shown.

python Testing/benchmarks/read_true_pictures.py [--vertebrae 60] [--seed 8600]
"""

from __future__ import annotations

import argparse

import numpy as np

from VertebralGradingLib.counterfactual.reading import READ_APART, apart
from VertebralGradingLib.counterfactual.request import Health
from VertebralGradingLib.evaluation.scenes import draw_scenes
from VertebralGradingLib.evaluation.warps import TRUE_MASK, measurement_of, study_of


def main() -> None:
    """Print the 50th and 90th percentile for each grade, beside what the program uses."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vertebrae", type=int, default=60)
    parser.add_argument("--seed", type=int, default=8600)
    args = parser.parse_args()
    off: dict[int, list[float]] = {}
    for scene in draw_scenes(args.vertebrae, args.seed):
        own = measurement_of(study_of(scene, TRUE_MASK), scene.level).heights_mm
        for aim in scene.aims:
            healthy = aim.target.heights_mm if aim.grade == 0 else own
            off.setdefault(aim.grade, []).append(apart(aim.target.image, Health(healthy, own), aim.grade))
    for grade, values in sorted(off.items()):
        half, most = np.quantile([v for v in values if np.isfinite(v)], [0.5, 0.9])
        unread = sum(not np.isfinite(v) for v in values)
        print(f"grade {grade}: {len(values)} true pictures, {unread} not read; of the others half within {half:.2f}, "
              f"90 % within {most:.2f} (used: {READ_APART[grade]:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
