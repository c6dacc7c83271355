"""Fit the body network's uncertainty on phantoms, and see what seeds in wrong places look like to it on real CT.

Prints ``base_mm``, ``per_spread`` and ``per_softness`` for the model's card (:class:`learned.Calibration`): errors of
heights against truth, squared, by what the network shows, with no negative part (non-negative least squares).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from body_mask_table import DATA, REAL
from scipy.optimize import nnls

from VertebralGradingLib.errors import MaskError, MethodError
from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.segmentation.learned import Found, NetworkFinder, finder_of_weights
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import build_spine


def main() -> None:
    """Print the fit and the table of seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, help="weight file instead of the model shipped")
    parser.add_argument("--spines", type=int, default=24)
    parser.add_argument("--seed", type=int, default=8000)
    args = parser.parse_args()
    try:
        finder = finder_of_weights(args.weights) if args.weights else NetworkFinder.load()
    except MethodError as error:
        print(f"skipped: {error.message}")
        return
    _fit(finder, args.spines, args.seed)
    if DATA.is_dir():
        _seeds(finder)


def _fit(finder: NetworkFinder, spines: int, seed: int) -> None:
    from VertebralGradingLib.evaluation.bodies import SLICES_MM, draw_case

    rows, squares, slices = [], [], []
    for n in range(spines):
        case = draw_case(seed + n, 1.0, SLICES_MM[n % 4])
        spine = build_spine(case.clicks)
        for vertebra in spine.vertebrae:
            found = finder.search(case.ct, vertebra.center, spine.axes(vertebra))
            try:
                heights = measure(found.body).heights_mm
            except MaskError:
                continue
            error = heights - np.array(case.truths[vertebra.level].after_mm)
            rows.append([1.0, found.spread_mm**2, found.softness_mm**2])
            squares.append(np.mean(error**2) / 2.0)  # of one edge
            slices.append(case.slice_mm)
    x, y = np.array(rows), np.array(squares)
    used = y <= np.quantile(y, 0.98)  # the worst are other vertebrae's edges, which no spread tells
    weight = 1.0 / (x[used] @ [0.05, 0.5, 0.2] + 0.05)
    fit, _ = nnls(x[used] * weight[:, None], y[used] * weight)
    base, per_spread, per_softness = np.sqrt(fit)
    told = np.sqrt(x @ fit)
    print(f"{len(y)} vertebrae: base_mm {base:.3f}, per_spread {per_spread:.3f}, per_softness {per_softness:.3f}")
    print(f"  spread 10/50/90 % {np.round(np.quantile(np.sqrt(x[:, 1]), [0.1, 0.5, 0.9]), 2)} mm, "
          f"softness {np.round(np.quantile(np.sqrt(x[:, 2]), [0.1, 0.5, 0.9]), 2)} mm")  # fmt: skip
    for thickness in SLICES_MM:
        at = np.array(slices) == thickness
        if at.any():
            print(f"  {thickness} mm: rms edge error {np.sqrt(y[at].mean()):.2f} mm, told {told[at].mean():.2f} mm")


def _seeds(finder: NetworkFinder) -> None:
    print("real CTs, development data: what the network shows at seeds in and beside bodies")
    places: dict[str, list[tuple[Found, float]]] = {}
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
                found = finder.search(ct, start, axes)
                places.setdefault(name, []).append((found, float(np.linalg.norm(found.body.centroid() - start))))
    for name, seen in places.items():
        table = np.array(
            [[f.agreement, f.softness_mm, f.spread_mm, moved, f.body.volume_mm3 / 1000] for f, moved in seen]
        )
        text = ", ".join(
            f"{what} {low:.2f}/{middle:.2f}/{high:.2f}"
            for what, (low, middle, high) in zip(
                ("agreement", "softness", "spread", "moved", "ml"),
                np.quantile(table, [0.1, 0.5, 0.9], axis=0).T,
                strict=True,
            )
        )
        print(f"  {name:9s} {len(seen):3d}: {text}", flush=True)


if __name__ == "__main__":
    main()
