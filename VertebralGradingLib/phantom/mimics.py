"""What looks like a fracture and must not be graded: each changes the spine before and after alike, so nothing is lost.

Sizes and frequencies are assumed, and more frequent than in people.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from VertebralGradingLib.phantom.columns import index
from VertebralGradingLib.phantom.drawer import Drawer
from VertebralGradingLib.phantom.parameters import SpineParameters

Values = dict[str, float]
Mimic = Callable[[np.random.Generator, Values], Values]


def _schmorl(rng: np.random.Generator, v: Values) -> Values:
    draw = Drawer(rng)
    out: Values = {"pit_rim_hu": draw.uniform(80.0, 450.0)}
    for side in ("sup", "inf") if rng.random() < 0.3 else (str(rng.choice(["sup", "inf"])),):
        size = draw.uniform(2.5, 0.42 * v["half_depth"])
        out |= {
            f"pit_{side}": draw.uniform(0.08, 0.36) * v["height"],
            f"pit_{side}_v": draw.uniform(-0.35, 0.3) * v["half_depth"],
            f"pit_{side}_u": draw.uniform(-0.35, 0.35) * v["half_width"],
            f"pit_{side}_rv": size,
            f"pit_{side}_ru": size * draw.uniform(0.7, 1.3),
        }
    return out


def _sclerosis(rng: np.random.Generator, v: Values) -> Values:
    draw = Drawer(rng)
    return {"sclerosis_hu": draw.uniform(60.0, 350.0), "sclerosis_mm": draw.uniform(1.5, 6.0)}


def _osteophytes(rng: np.random.Generator, v: Values) -> Values:
    draw = Drawer(rng)
    return {"lip_sup": draw.uniform(0.0, 7.0), "lip_inf": draw.uniform(0.0, 7.0)}


def _vacuum(rng: np.random.Generator, v: Values) -> Values:
    draw = Drawer(rng)
    return {
        "gas": draw.uniform(0.6, 2.2),
        "gas_center": draw.uniform(-0.5, 0.6),
        "gas_hu": draw.uniform(-900.0, -200.0),
        "disc": v["disc"] * draw.uniform(0.35, 0.8),
    }


def _calcified_disc(rng: np.random.Generator, v: Values) -> Values:
    return {"disc_calcium": Drawer(rng).uniform(80.0, 500.0)}


def _lesion(rng: np.random.Generator, v: Values, hu: tuple[float, float], **more: float) -> Values:
    draw = Drawer(rng)
    radius = draw.uniform(3.0, 0.48 * v["height"])
    return {
        "lesion": radius,
        "lesion_u": draw.uniform(-0.4, 0.4) * v["half_width"],
        "lesion_v": draw.uniform(-0.4, 0.4) * v["half_depth"],
        "lesion_w": draw.uniform(-0.2, 0.2) * v["height"],
        "lesion_hu": draw.uniform(*hu),
        **more,
    }


def _hemangioma(rng: np.random.Generator, v: Values) -> Values:
    return _lesion(rng, v, (-30.0, 120.0), lesion_stripes=Drawer(rng).uniform(60.0, 160.0), lesion_rough=1.0)


def _lytic(rng: np.random.Generator, v: Values) -> Values:
    return _lesion(rng, v, (10.0, 70.0), lesion_rough=1.0)


def _blastic(rng: np.random.Generator, v: Values) -> Values:
    return _lesion(rng, v, (400.0, 900.0), lesion_rough=1.5)


def _cement(rng: np.random.Generator, v: Values) -> Values:
    return _lesion(rng, v, (1400.0, 2900.0), lesion_rough=3.0)


def _screws(rng: np.random.Generator, v: Values) -> Values:
    return {"screw": 1.0, "screw_hu": Drawer(rng).uniform(2200.0, 3071.0)}


def _bridged(rng: np.random.Generator, v: Values) -> Values:
    """Lips of neighbouring rims that have met across one disc."""
    draw = Drawer(rng)
    return {
        "bridge": draw.uniform(1.5, 6.0),
        "bridge_at": draw.uniform(-0.8, 0.8),
        "lip_inf": draw.uniform(2.0, 7.0),
        "lip_sup": draw.uniform(0.0, 7.0),
    }


def _wedged(rng: np.random.Generator, v: Values) -> Values:
    """Physiological wedging: the body grew lower in front."""
    lower = Drawer(rng).uniform(0.04, 0.14) * v["height"]
    return {"wedge": v["wedge"] - lower / (0.84 * v["half_depth"]), "height": v["height"] - 0.3 * lower}


def _low(rng: np.random.Generator, v: Values) -> Values:
    """A body that grew a little lower as a whole (short vertebral height)."""
    return {"height": v["height"] * Drawer(rng).uniform(0.86, 0.95)}


SINGLE: dict[str, tuple[float, Mimic]] = {
    "schmorl": (0.05, _schmorl),
    "sclerosis": (0.06, _sclerosis),
    "osteophytes": (0.14, _osteophytes),
    "vacuum": (0.05, _vacuum),
    "calcified_disc": (0.02, _calcified_disc),
    "hemangioma": (0.02, _hemangioma),
    "lytic": (0.015, _lytic),
    "blastic": (0.015, _blastic),
    "cement": (0.008, _cement),
    "wedging": (0.04, _wedged),
    "short": (0.02, _low),
}
"""Mimics of one vertebra with the share of vertebrae that have them at rate 1."""


def add_mimics(
    spine: SpineParameters, seed: int, rate: float = 1.0, only: str | None = None, bridged: float = 0.0
) -> tuple[SpineParameters, dict[str, list[str]]]:
    """Draw mimics.

    Args:
        spine: any spine.
        seed: fixes them.
        rate: factor on all frequencies.
        only: one name of :data:`SINGLE`, "scheuermann", "dish", "screws" or "block"; None draws from all.
        bridged: share of discs whose rims grow together in front or at one side, beside what ``rate`` draws.

    Returns:
        The changed spine, and the names of the mimics of each level that has any.
    """
    rng = np.random.default_rng([seed, 11])
    table = spine.vertebrae.copy()
    found: dict[str, list[str]] = {}
    graded = [level for level in spine.levels if level[0] in "TL"]

    def put(level: str, name: str, make: Mimic) -> None:
        row = table[spine.levels.index(level)]
        values = {
            column: float(row[index(column)]) for column in ("half_depth", "half_width", "height", "wedge", "disc")
        }
        for column, value in make(rng, values).items():
            row[index(column)] = value
        found.setdefault(level, []).append(name)

    for name, (share, make) in SINGLE.items():
        for level in graded:
            if rng.random() < share * rate * (only in (None, name)):
                put(level, name, make)
    for name, share in (("scheuermann", 0.04), ("dish", 0.07), ("screws", 0.02), ("block", 0.02)):
        if rng.random() < min(share * rate, 1.0) * (only in (None, name)):
            _group(name, rng, graded, put)
    for level in graded:
        if bridged > 0.0 and rng.random() < bridged:
            put(level, "bridged", _bridged)
    return SpineParameters(spine.seed, spine.levels, table, spine.trunk, spine.root), found


def _group(name: str, rng: np.random.Generator, graded: list[str], put: Callable[[str, str, Mimic], None]) -> None:
    """Mimics of several neighbours."""
    draw = Drawer(rng)
    if name == "scheuermann":  # three and more wedged neighbours with wavy endplates and pits
        start = int(rng.integers(4, 9))
        for level in graded[start : start + int(rng.integers(3, 6))]:
            put(level, name, lambda r, v: {**_wedged(r, v), **_schmorl(r, v), "rough": float(r.uniform(0.4, 1.1))})
    elif name == "dish":  # flowing bone in front of at least four bodies
        start, thick, side = int(rng.integers(3, 8)), draw.uniform(2.0, 7.0), draw.uniform(-0.1, 0.6)
        for level in graded[start : start + int(rng.integers(4, 9))]:
            put(level, name, lambda r, v: {"bridge": thick * float(r.uniform(0.7, 1.3)), "bridge_at": side})
    elif name == "screws":
        start = int(rng.integers(8, len(graded) - 2))
        for level in graded[start : start + int(rng.integers(2, 5))]:
            put(level, name, _screws)
    else:
        start = int(rng.integers(1, len(graded) - 1))
        put(graded[start], name, lambda r, v: {"fused": 1.0, "disc": 1.2, "bend": 0.0})
