"""Synthetic spines whose vertebrae are changed to other grades."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from VertebralGradingLib.phantom.drawer import seed_of

_MAX_SPINES = 400


@dataclass(frozen=True, eq=False)
class Drawn:
    """One synthetic spine without mimics, and which of its vertebrae may be changed.

    Attributes:
        pool: the spine alone.
        subject: its name.
        rng: what else is drawn for it.
        broken, whole: levels with at least the loss asked for, and unbroken ones, in random order.
    """

    pool: list[Any]
    subject: str
    rng: np.random.Generator
    broken: list[str]
    whole: list[str]


def draw_spines(seed: int, stream: int, eligible: Callable[[str], bool], least_loss: float) -> Iterator[Drawn]:
    """Spines whose vertebrae are changed to other grades.

    Args:
        seed: fixes them.
        stream: another one draws other vertebrae of the same spines.
        eligible: whether a level may be taken.
        least_loss: graded loss from which a vertebra counts as broken.
    """
    from VertebralGradingLib.phantom.pool import draw_pool

    for number in range(_MAX_SPINES):
        pool = draw_pool(1, seed_of(seed, number), mimic_rate=0.0)
        rng = np.random.default_rng([seed, number, stream])
        levels = [str(level) for level in rng.permutation([one for one in pool[0].levels if eligible(one)])]
        broken = [level for level in levels if pool[0].graded_loss(level) >= least_loss]
        whole = [level for level in levels if level not in pool[0].truths]
        yield Drawn(pool, f"{seed}-{number}", rng, broken, whole)
