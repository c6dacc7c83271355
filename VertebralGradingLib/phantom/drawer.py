"""Seeds of parts, and random numbers whose spread can be turned down."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """The seed of one part of a whole, such as a subject of a data set: that of the whole, and what tells it apart."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Drawer:
    """Random numbers whose spread can be turned down: ``amount`` 0 gives the middle of every range."""

    def __init__(self, rng: np.random.Generator, amount: float = 1.0) -> None:
        self.rng, self.amount = rng, amount

    def normal(self, mean: float, sd: float) -> float:
        """Normal, cut at 2.5 SD."""
        return mean + sd * self.amount * float(np.clip(self.rng.normal(), -2.5, 2.5))

    def uniform(self, low: float, high: float) -> float:
        """Uniform."""
        middle, half = (low + high) / 2, (high - low) / 2
        return middle + half * self.amount * float(self.rng.uniform(-1, 1))

    def log_uniform(self, low: float, high: float) -> float:
        """Uniform in the logarithm."""
        return float(np.exp(self.uniform(np.log(low), np.log(high))))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)
