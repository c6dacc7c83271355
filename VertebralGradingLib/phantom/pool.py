"""A pool of prepared spines with their truth, from which data sets draw patches again and again.

Drawing a fracture of exact loss takes half a second, scanning a patch milliseconds: so geometry is drawn once and kept,
and look, scanner and pose are new each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.phantom.columns import COLUMNS
from VertebralGradingLib.phantom.draw import SpineOptions, draw_spine
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.phantom.fracture import MAX_LOSS, fracture
from VertebralGradingLib.phantom.mimics import add_mimics
from VertebralGradingLib.phantom.parameters import TRUNK, SpineParameters
from VertebralGradingLib.phantom.truth import Truth, truth


@dataclass(frozen=True, eq=False)
class PoolSpine:
    """One spine of a pool.

    Attributes:
        spine: with fractures and mimics.
        truths: level -> truth, of the broken levels; all others have lost nothing.
        mimics: level -> names.
    """

    spine: SpineParameters
    truths: dict[str, Truth]
    mimics: dict[str, list[str]]

    @property
    def levels(self) -> list[str]:
        """Thoracic and lumbar levels."""
        return [level for level in self.spine.levels if level[0] in "TL"]

    def graded_loss(self, level: str) -> float:
        """The loss that is graded, 0 for a level that is whole."""
        return self.truths[level].graded if level in self.truths else 0.0


def draw_pool(
    count: int,
    seed: int,
    fractures: float = 3.0,
    mimic_rate: float = 1.0,
    options: SpineOptions | None = None,
    bridged: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[PoolSpine]:
    """Draw spines for a pool.

    Args:
        count: number of spines.
        seed: fixes them.
        fractures: mean number of broken levels; losses are uniform over 0.02 to 0.60.
        mimic_rate: see :func:`mimics.add_mimics`.
        options: what may vary.
        bridged: see :func:`mimics.add_mimics`.
        progress: called with (done, total).
    """
    pool: list[PoolSpine] = []
    attempt = 0
    while len(pool) < count:
        own = seed_of(seed, attempt)
        attempt += 1
        rng = np.random.default_rng([own, 61])
        spine, mimics = add_mimics(draw_spine(own, options), own, mimic_rate, bridged=bridged)
        levels = [level for level in spine.levels if level[0] in "TL"]
        chosen = rng.permutation(levels)[: min(int(rng.poisson(fractures)), 8)]
        truths = {}
        try:
            for level in map(str, chosen):
                spine = fracture(spine, level, float(rng.uniform(0.02, MAX_LOSS)), int(rng.integers(1 << 31)))
                truths[level] = truth(spine, level)
        except (ValueError, MaskError):
            continue  # this shape cannot take that fracture: the next person
        pool.append(PoolSpine(spine, truths, mimics))
        if progress is not None:
            progress(len(pool), count)
    return pool


def save_pool(pool: list[PoolSpine], path: str | Path) -> None:
    """Write a pool as safetensors with a JSON card beside it."""
    path = Path(path)
    arrays = {}
    for n, one in enumerate(pool):
        arrays[f"{n}.vertebrae"] = one.spine.vertebrae
        arrays[f"{n}.trunk"] = one.spine.trunk
        arrays[f"{n}.root"] = one.spine.root
    save_file(arrays, path)
    card = {
        "columns": list(COLUMNS),
        "trunk": list(TRUNK),
        "spines": [
            {
                "seed": one.spine.seed,
                "levels": list(one.spine.levels),
                "truths": {level: asdict(true) for level, true in one.truths.items()},
                "mimics": one.mimics,
            }
            for one in pool
        ],
    }
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")


def load_pool(path: str | Path) -> list[PoolSpine]:
    """Read a pool.

    Raises:
        InputError: missing, or written by a version with other columns.
    """
    path = Path(path)
    if not path.exists() or not path.with_suffix(".json").exists():
        raise InputError("The pool of phantoms does not exist.", "Draw one first.")
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if card["columns"] != list(COLUMNS) or card["trunk"] != list(TRUNK):
        raise InputError("The pool of phantoms was made by another version.", "Draw it again.")
    arrays = load_file(path)
    return [
        PoolSpine(
            SpineParameters(
                row["seed"],
                tuple(row["levels"]),
                arrays[f"{n}.vertebrae"],
                arrays[f"{n}.trunk"],
                arrays[f"{n}.root"],
            ),
            {level: Truth(**true) for level, true in row["truths"].items()},
            row["mimics"],
        )
        for n, row in enumerate(card["spines"])
    ]
