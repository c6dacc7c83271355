"""Published heights of vertebral bodies, as one smooth curve over level for each quantity.

The table is ``Resources/norms/vertebral_heights.csv``. Its cohorts are of different size, so their values are joined
by least squares on log values, heights with an offset for each cohort: the curve's shape is what is used.
"""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.resources import resource
from VertebralGradingLib.spine.anatomy import axis_position

SD_ANTERIOR = 0.06
"""Between people, of log(Ha/Hp): 0.05-0.08 in the two MRI series of the table."""
SD_MIDDLE = 0.07
"""Between people, of log(Hm/max): assumed, no source."""
SD_SIZE = 0.15
"""Of a patient's log size against the norms: 2.0 mm of 25 mm (0.08) between people in the CT series, and as much again
for other populations and for how differently heights are measured."""
_DEGREE = {"Hp": 4, "Ha/Hp": 4, "Hm/max": 0}
_UNKNOWN_GROWTH = 0.035
"""Growth of log height per level where levels are not known: T4 to L2 of the table."""


@cache
def rows() -> tuple[dict[str, str], ...]:
    """The table's rows."""
    with resource("norms/vertebral_heights.csv").open(encoding="utf-8") as file:
        return tuple(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def _curve(quantity: str) -> tuple[float, ...]:
    """Coefficients of the smooth curve of log(quantity) over centred axis position."""
    chosen = [row for row in rows() if row["quantity"] == quantity]
    cohorts = sorted({row["source"] for row in chosen} - {"duman2026"}) if quantity == "Hp" else []
    x = np.array([axis_position(row["level"]) for row in chosen]) / 10.0 - 0.9
    y = np.log([float(row["mean"]) for row in chosen])
    weight = np.sqrt([min(float(row["n"] or 30), 120.0) for row in chosen])
    basis = np.vander(x, _DEGREE[quantity] + 1)
    offsets = np.array([[row["source"] == cohort for cohort in cohorts] for row in chosen], dtype=float)
    design = np.hstack([basis, offsets.reshape(len(chosen), len(cohorts))]) * weight[:, None]
    fit = np.linalg.lstsq(design, y * weight, rcond=None)[0]
    return tuple(fit[: _DEGREE[quantity] + 1])


def _value(quantity: str, position: float) -> float:
    return float(np.polyval(_curve(quantity), np.clip(position, 1.0, 17.0) / 10.0 - 0.9))


def expected_log_heights(positions: NDArray[np.float64], known: bool = True) -> NDArray[np.float64]:
    """Prior log heights.

    Args:
        positions: (n,) places on the axis of levels; order numbers when levels are not known.
        known: whether they are anatomical levels. If not, heights grow evenly and ratios are those of the mid-spine.

    Returns:
        (n, 3) log mm: anterior, middle, posterior.
    """
    out = np.empty((len(positions), 3))
    for n, position in enumerate(positions):
        if known:
            posterior, ratio, middle = (_value(quantity, position) for quantity in ("Hp", "Ha/Hp", "Hm/max"))
        else:
            mean = (len(positions) - 1) / 2
            posterior = _value("Hp", 11.0) + _UNKNOWN_GROWTH * (position - mean)
            ratio, middle = _value("Ha/Hp", 11.0), _value("Hm/max", 11.0)
        anterior = posterior + ratio
        out[n] = anterior, max(anterior, posterior) + middle, posterior
    return out
