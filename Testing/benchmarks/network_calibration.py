"""Fit the uncertainty of either search on phantoms, and see what seeds in wrong places look like to the network.

Prints ``base_mm`` and ``per_...`` for the network's card or for :data:`classical.CALIBRATION`: those at which errors of
heights against truth are likeliest, as normal ones of the standard deviation told (maximum likelihood). How far a
centroid lies outside of its body cannot be fitted on phantoms, whose centroids lie inside.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import can_draw
from body_mask_table import DATA, REAL
from numpy.typing import NDArray
from scipy.optimize import minimize

from VertebralGradingLib.errors import MaskError, MethodError
from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.segmentation.classical import find_body_classical
from VertebralGradingLib.segmentation.finders import Find
from VertebralGradingLib.segmentation.learned import Found, NetworkFinder, finder_of_weights
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import build_spine

THICK_MM = (1.0, 1.5, 2.5, 3.0, 4.0, 5.0)
"""Thicknesses in turn; in every other round slices overlap by a fifth."""
_UNFITTED = "outside"
_LEAST_MM = 0.05
"""A height's standard deviation is no less, or one lucky vertebra would make the fit."""


@dataclass(frozen=True)
class Row:
    """One vertebra: of which spine, in which slices (mm), its signs, and its heights' errors (mm)."""

    spine: int
    slice_mm: float
    signs: dict[str, float | NDArray[np.float64]]
    error: tuple[float, ...]


def main() -> None:
    """Print the fit, how well it tells, and the table of seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", choices=("network", "classical"), default="network")
    parser.add_argument("--weights", type=Path, help="weight file instead of the model shipped")
    parser.add_argument("--spines", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-seeds", action="store_true", help="no table of seeds")
    args = parser.parse_args()
    if not can_draw():
        return
    try:
        find = _search(args.search, args.weights)
    except MethodError as error:
        print(f"skipped: {error.message}")
        return
    one = functools.partial(_rows, seed=args.seed, search=args.search, weights=args.weights)
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        _fit([row for part in pool.imap(one, range(args.spines)) for row in part])
    if DATA.is_dir() and isinstance(find, NetworkFinder) and not args.no_seeds:
        _seeds(find)


@functools.cache
def _search(name: str, weights: Path | None) -> Find:
    if name == "classical":
        return find_body_classical
    return finder_of_weights(weights) if weights else NetworkFinder.load()


def _rows(n: int, seed: int, search: str, weights: Path | None) -> list[Row]:
    """The vertebrae of the ``n``-th spine whose bodies can be measured."""
    from VertebralGradingLib.evaluation.bodies import draw_case

    can_draw()
    thickness, turn = THICK_MM[n % len(THICK_MM)], n // len(THICK_MM)
    case = draw_case(seed + n, 1.0, thickness, overlap=0.2 * (turn % 2))
    assert case.ct is not None  # images were asked for
    spine, out = build_spine(case.clicks), []
    for vertebra in spine.vertebrae:
        body = _search(search, weights)(case.ct, vertebra.center, spine.axes(vertebra), *spine.spacing_mm(vertebra))
        truth = case.truths[vertebra.level].after_mm  # type: ignore[attr-defined]
        try:
            error = measure(body).heights_mm - np.array(truth)
        except MaskError:
            continue
        out.append(Row(n, thickness, dict(body.signs), tuple(error)))
    return out


def _fit(rows: list[Row]) -> None:
    names = [name for name in rows[0].signs if name != _UNFITTED]
    signs = np.array([[np.broadcast_to(row.signs[name], 3) for name in names] for row in rows]).swapaxes(1, 2)
    signs = np.concatenate([np.ones_like(signs[..., :1]), signs], axis=2)
    errors, spines = np.array([row.error for row in rows]), np.array([row.spine for row in rows])
    found = _likeliest(signs, errors)
    print(f"{len(rows)} vertebrae: " + ", ".join(
        f"{name} {value:.3f}" for name, value in zip(["base_mm", *(f"per_{n}" for n in names)], found, strict=True)
    ))  # fmt: skip
    apart = np.empty_like(errors)  # told by the other half of the spines
    for half in (0, 1):
        mine = spines // len(THICK_MM) % 2 == half
        apart[mine] = _height_sd(signs[mine], _likeliest(signs[~mine], errors[~mine]))
    told = _height_sd(signs, found)
    for thickness in THICK_MM:
        at = np.array([row.slice_mm for row in rows]) == thickness
        if not at.any():
            continue
        z = errors[at] / told[at]
        print(
            f"  {thickness} mm: {at.sum()} vertebrae, rms error of a height {np.sqrt(np.mean(errors[at] ** 2)):.2f}, "
            f"told {np.sqrt(np.mean(told[at] ** 2)):.2f} mm; error / sd: rms {np.sqrt(np.mean(z**2)):.2f}, "
            f"by the other half's fit {np.sqrt(np.mean((errors[at] / apart[at]) ** 2)):.2f}, "
            f"within 1.645 {np.mean(np.abs(z) < 1.645):.3f}, beyond 3 {np.mean(np.abs(z) > 3):.3f}"
        )
    worst = np.argsort(-np.abs(errors).max(1))[: max(len(rows) // 50, 1)]
    print(f"  worst 2 %: largest error of a height {np.round(np.abs(errors[worst]).max(1), 1).tolist()} mm, "
          f"told {np.round(told[worst].max(1), 1).tolist()} mm")  # fmt: skip


def _height_sd(signs: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviations (n, 3) of heights (mm): of two independent endplates."""
    return np.asarray(np.sqrt(2.0 * (signs**2 @ weights**2) + _LEAST_MM**2))


def _likeliest(signs: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (m,) of signs (n, 3, m) that make errors (n, 3) likeliest."""

    def unlikely(weights: NDArray[np.float64]) -> float:
        variance = _height_sd(signs, weights) ** 2
        return float(np.mean(np.log(variance) + errors**2 / variance))

    return np.abs(minimize(unlikely, np.full(signs.shape[2], 0.2), method="L-BFGS-B").x)


def _seeds(finder: NetworkFinder) -> None:
    print("real CTs, development data: what the network shows at seeds in and beside bodies")
    places: dict[str, list[Found]] = {}
    for ct_name, points in REAL:
        ct, spine = read_volume(DATA / ct_name), build_spine(read_points(DATA / points))
        for vertebra in spine.vertebrae[1:-1:2]:
            axes, up = spine.axes(vertebra), spine.spacing_mm(vertebra)[0] or 30.0
            for name, offset in {
                "body": (0, 0, 0), "disc": (0, 0, up / 2), "canal": (0, -24, 0), "in front": (0, 28, 0),
                "beside": (32, 0, 0), "far": (70, 30, 0),
            }.items():  # fmt: skip
                start = vertebra.center + axes @ np.array(offset, dtype=float)
                if not bool(ct.contains(start)):
                    continue
                places.setdefault(name, []).append(finder.search(ct, start, axes))
    for name, seen in places.items():
        signs = ("softness", "apart", "mirrored", "outside")
        table = np.array(
            [
                [f.agreement, *(np.mean(f.body.signs[s]) for s in signs), f.moved_mm, f.body.volume_mm3 / 1000,
                 finder.calibration.told(f.body).edge_sd_mm]
                for f in seen
            ]
        )  # fmt: skip
        text = ", ".join(
            f"{what} {low:.2f}/{middle:.2f}/{high:.2f}"
            for what, (low, middle, high) in zip(
                ("agreement", *signs, "moved", "ml", "edge sd"),
                np.quantile(table, [0.1, 0.5, 0.9], axis=0).T,
                strict=True,
            )
        )
        print(f"  {name:9s} {len(seen):3d}: {text}", flush=True)


if __name__ == "__main__":
    main()
