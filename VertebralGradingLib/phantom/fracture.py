"""Drawing fractures: a shape, then its amounts scaled until the exact graded loss is the one wanted.

Shapes follow Genant (wedge, biconcave, crush) and the features sheet 7 asks to make strong: impaction band, cortical
step, buckled wall, retropulsion, gas or fluid cleft, fracture line, lateral asymmetry. Their sizes are assumed.
"""

from __future__ import annotations

import numpy as np

from VertebralGradingLib.phantom.columns import AMOUNTS
from VertebralGradingLib.phantom.drawer import Drawer
from VertebralGradingLib.phantom.parameters import SpineParameters
from VertebralGradingLib.phantom.truth import body_heights

KINDS = ("wedge", "biconcave", "crush", "mixed")
MAX_LOSS = 0.60
_TOLERANCE = 0.004


def fracture(
    spine: SpineParameters, level: str, loss: float, seed: int, kind: str | None = None, features: float = 1.0
) -> SpineParameters:
    """Break one vertebra so that its graded loss is ``loss``.

    Args:
        spine: a spine, unbroken at that level.
        level: which vertebra.
        loss: graded height loss against its unbroken self, 0 to 0.60; :func:`truth.truth` says what came out, within
            about 0.01.
        seed: fixes the shape; the same seed with another loss gives the same shape, more or less severe.
        kind: one of :data:`KINDS`; drawn when None (wedge half of the time).
        features: how often and how strongly bands, clefts, steps and retropulsion come with it, 0 for none.

    Raises:
        ValueError: a loss out of range, or a kind that is not known.
    """
    if not 0.0 <= loss <= MAX_LOSS:
        raise ValueError(f"loss must be 0 to {MAX_LOSS}, not {loss}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    rng = np.random.default_rng([seed, spine.levels.index(level), 7])
    height = float(spine.view.height[spine.levels.index(level)])
    shape = _shape(kind or str(rng.choice(KINDS, p=(0.5, 0.2, 0.12, 0.18))), rng, height)
    extras = _extras(Drawer(rng), rng, height, features)
    if loss == 0.0:
        return spine
    severity = min(loss / 0.4, 1.2)
    values = shape | {name: value * (severity if name in AMOUNTS else 1.0) for name, value in extras.items()}
    scale = _scale(spine, level, values, loss)
    return spine.changed(level, **{name: value * (scale if name in _MM else 1.0) for name, value in values.items()})


_MM = ("wedge_mm", "bowl_mm", "crush_mm", "step_mm", "ragged")


def _shape(kind: str, rng: np.random.Generator, height: float) -> dict[str, float]:
    """Amounts (mm, of arbitrary total) and the numbers that say where."""
    part = {"wedge": (1.0, 0.12, 0.04), "biconcave": (0.05, 1.0, 0.12), "crush": (0.12, 0.15, 1.0),
            "mixed": (0.6, 0.6, 0.3)}[kind]  # fmt: skip
    wedge, dish, even = (value * float(np.exp(rng.normal(0, 0.5))) for value in part)
    which = rng.random()
    return {
        "wedge_mm": wedge,
        "bowl_mm": dish,
        "crush_mm": even,
        "step_mm": float(rng.uniform(0.0, 0.35)) * (wedge + even) * float(rng.random() < 0.4),
        "ragged": float(rng.uniform(0.0, 0.06)),
        "wedge_start": float(rng.uniform(-1.0, -0.1)),
        "wedge_curve": float(rng.uniform(0.0, 0.7)),
        "bowl_center": float(rng.uniform(-0.25, 0.2)),
        "bowl_size": float(rng.uniform(0.7, 1.05)),
        "step_at": float(rng.uniform(0.25, 0.7)),
        "lateral": float(np.clip(rng.normal(0, 0.25), -0.6, 0.6)),
        "superior": float(
            rng.uniform(0.75, 1.0) if which < 0.6 else rng.uniform(0.3, 0.7) if which < 0.85 else rng.uniform(0.0, 0.25)
        ),
        "kyphosis": float(rng.uniform(0.3, 1.0)),
    }


def _extras(draw: Drawer, rng: np.random.Generator, height: float, features: float) -> dict[str, float]:
    def often(probability: float) -> float:
        return float(rng.random() < probability * features)

    fluid = rng.random() < 0.3
    return {
        "band_hu": often(0.6) * draw.uniform(40.0, 260.0),
        "band_mm": draw.uniform(1.8, 4.5),
        "buckle_mm": often(0.5) * draw.uniform(0.4, 2.6),
        "retro_mm": often(0.3) * draw.uniform(0.04, 0.22) * height,
        "bulge": often(0.5) * draw.uniform(0.2, 1.6),
        "cleft_mm": often(0.13) * draw.uniform(0.8, 2.6),
        "cleft_hu": draw.uniform(-5.0, 40.0) if fluid else draw.uniform(-900.0, -300.0),
        "cleft_at": draw.uniform(0.12, 0.28) * height,
        "cleft_front": draw.uniform(-0.1, 0.55),
        "line_hu": often(0.3) * draw.uniform(60.0, 300.0),
    }


def _scale(spine: SpineParameters, level: str, shape: dict[str, float], loss: float) -> float:
    """Factor on the amounts of ``shape`` that gives the wanted graded loss (secant steps)."""
    unbroken = spine.changed(level, **dict.fromkeys(AMOUNTS, 0.0))
    before = body_heights(unbroken, level)

    def graded(factor: float) -> float:
        tried = spine.changed(level, **{n: v * (factor if n in _MM else 1.0) for n, v in shape.items()})
        lost = 1.0 - body_heights(tried, level) / before
        return float(max(lost[0], lost[1], lost.mean()))

    total = sum(shape[name] for name in _MM)
    low, high = 0.0, loss * float(before.mean()) / max(total, 1e-6)
    f_low, f_high = graded(0.0) - loss, graded(high) - loss
    for _ in range(12):
        if abs(f_high) < _TOLERANCE:
            return high
        step = (high - low) / (f_high - f_low) if f_high != f_low else 0.0
        low, f_low = high, f_high
        high = max(high - f_high * step, 0.0)
        f_high = graded(high) - loss
    if abs(f_high) > 0.01:
        raise ValueError(f"no amount of this shape gives a loss of {loss:.2f}")
    return high
