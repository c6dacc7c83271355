"""What the generators draw too tall or too low in one patient, judged by the patient's own sound vertebrae."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy

NEAREST = 4
"""So many sound vertebrae at most are asked."""


def nearest_sound(number: int, sound: Sequence[bool]) -> list[int]:
    """The sound vertebrae nearest to one of a chain, without itself; the nearest first.

    Args:
        number: of the vertebra.
        sound: of each vertebra of the chain, cranial to caudal.
    """
    others = [n for n, is_sound in enumerate(sound) if is_sound and n != number]
    return sorted(others, key=lambda n: (abs(n - number), n))[:NEAREST]


def patient_scale(number: int, sound: Sequence[bool], seen: Callable[[int], PseudoHealthy | None]) -> float:
    """Log of drawn by own height that is usual for this patient, to be taken off what is drawn of a vertebra.

    The median over the nearest sound vertebrae, less where there are few: n of them count n / (n + 1).

    Args:
        number: of the vertebra, which itself does not count.
        sound: of each vertebra of the chain.
        seen: a vertebra beside its pseudo-healthy self, None where there is none.
    """
    found = [seen(n) for n in nearest_sound(number, sound)]
    logs = [one.log_excess for one in found if one is not None and np.isfinite(one.log_excess)]
    return float(np.median(logs)) * len(logs) / (len(logs) + 1) if logs else 0.0
