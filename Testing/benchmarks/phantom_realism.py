"""Realism of phantoms against the real CTs of the shared data: tables, nothing asserted."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from _common import DATA, can_draw

CASES = {
    "totalseg-example": ("example_ct.nii.gz", "example_bodies.mrk.json"),
    "totalseg-aorta": ("ct_cropped.nii.gz", "ct_cropped_bodies.mrk.json"),
    "tptbox-l3": ("sub-ct_label-22_ct.nii.gz", "sub-ct_bodies.mrk.json"),
    "lidc-0314": ("LIDC-IDRI-0314_spine_crop_ct.nii.gz", "LIDC-IDRI-0314_bodies.mrk.json"),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--phantoms", type=int, default=160)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--heights", action="store_true", help="compare with genant-heights (evaluation only)")
    args = parser.parse_args()
    if not can_draw("sklearn"):
        return
    if not DATA.is_dir():
        print("skipped: no shared data")
        return
    from VertebralGradingLib.phantom import realism

    real, scans = _real(DATA, args.each)
    made = _made(args.phantoms, args.seed)
    print(f"{len(real)} real patches of {len(set(scans))} scans, {len(made)} phantoms")
    mine = [realism.tissues(p) for p in made]
    print(f"{'':14s} {'real: scan medians':42s} phantoms: 5 / 50 / 95 %")
    for name in mine[0]:
        medians = []
        for scan in sorted(set(scans)):
            values = [realism.tissues(p)[name] for p, s in zip(real, scans, strict=True) if s == scan]
            medians.append(np.nanmedian(values))
        low, middle, high = np.nanpercentile([row[name] for row in mine], [5, 50, 95])
        print(f"{name:14s} {' '.join(f'{m:9.1f}' for m in medians):42s} {low:8.1f} {middle:8.1f} {high:8.1f}")
    print("noise power, 8 bands to 0.5/mm, real    ", realism.noise_power(real).round(3))
    print("noise power, 8 bands to 0.5/mm, phantoms", realism.noise_power(made).round(3))
    share, missed = realism.coverage(real, scans, made)
    print(f"medians of scans' features between the phantoms' 5th and 95th percentile: {share:.1%}; the others:")
    for name, scan, place in missed:
        print(f"    {name:20s} {scan:16s} at {place:5.1f} %")
    auc, each, best = realism.two_sample(real, scans, made)
    print(f"two-sample classifier, one real scan left out: AUC {auc:.3f};", {k: round(v, 3) for k, v in each.items()})
    print("  it uses", ", ".join(f"{name} {weight:.3f}" for name, weight in best))
    for name, _ in best:
        values = [realism.features(p)[name] for p in made]
        theirs = [np.median([realism.features(p)[name] for p, s in zip(real, scans, strict=True) if s == scan])
                  for scan in sorted(set(scans))]  # fmt: skip
        text = " ".join(f"{v:.3g}" for v in theirs)
        print(f"    {name:20s} real {text:40s} phantoms {np.percentile(values, [5, 50, 95]).round(3)}")
    if args.heights:
        _heights(DATA, args.seed)


def _real(data: Path, each: int) -> tuple[list[np.ndarray], list[str]]:
    from VertebralGradingLib.image.io import read_volume
    from VertebralGradingLib.phantom.realism import real_patches
    from VertebralGradingLib.spine.points import read_points
    from VertebralGradingLib.spine.spine import build_spine

    patches, scans = [], []
    for n, (case, (ct, points)) in enumerate(CASES.items()):
        spine = build_spine(read_points(data / case / points))
        found = real_patches(read_volume(data / case / ct), spine, 3 * each if case == "tptbox-l3" else each, n)
        patches += found
        scans += [case] * len(found)
    return patches, scans


def _made(count: int, seed: int) -> list[np.ndarray]:
    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import Field
    from VertebralGradingLib.phantom.imaging import draw_scanner
    from VertebralGradingLib.phantom.mimics import add_mimics
    from VertebralGradingLib.phantom.patches import pose, scan
    from VertebralGradingLib.phantom.realism import EDGE

    out = []
    for n in range(count):
        spine = add_mimics(draw_spine(seed + n), seed + n)[0]
        names = [level for level in spine.levels if level[0] in "TL"]
        level = names[int(np.random.default_rng([seed, n]).integers(len(names)))]
        field = Field([spine])
        where = pose(spine, field.frame(level), level, seed + n, shape=(EDGE, EDGE, 1))
        image, _ = scan(field, [where], [draw_scanner(seed + n)])
        out.append(image[0, :, :, 0].numpy())
    return out


def _heights(data: Path, seed: int) -> None:
    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.truth import body_heights

    path = data / "genant-heights" / "heights.csv"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print("heights of unbroken phantoms against expert heights of chest CTs (evaluation only), mean +- sd")
    made: dict[str, list[np.ndarray]] = {}
    for n in range(30):
        spine = draw_spine(seed + n)
        for level in spine.levels:
            if level[0] in "TL" and level not in ("T13", "L6"):
                made.setdefault(level, []).append(body_heights(spine, level))
    for level, heights in made.items():
        h = np.array(heights)
        mine = (h[:, 0] / h[:, 2], h[:, 1] / h[:, 2])
        theirs = [[float(r[k]) for r in rows if r["level"] == level] for k in ("ant_over_post", "mid_over_post")]
        text = " ".join(
            f"{name} {a.mean():.3f} +- {a.std():.3f} ({np.mean(b):.3f} +- {np.std(b):.3f})" if len(b) >= 10 else
            f"{name} {a.mean():.3f} +- {a.std():.3f} (no data)"
            for name, a, b in zip(("Ha/Hp", "Hm/Hp"), mine, theirs, strict=True)
        )  # fmt: skip
        print(f"  {level:4s} Hp {h[:, 2].mean():5.1f} mm  {text}")


if __name__ == "__main__":
    main()
