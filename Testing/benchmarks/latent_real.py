"""The diffusion autoencoder on real CT that it never saw: every vertebra's score, and vertebrae drawn at other grades.

The data folder is $VERTEBRAL_GRADING_DATA, or ../shared/data beside the checkout; a development set. verse004 and
healthivert-0007 have masks only; their CTs are rendered from them. verse004 has expert grades; of healthivert-0007 it
is known that L1 is collapsed and L2 to L5 are biconcave; in the other cases nobody has seen a fracture, but for T11 of
totalseg-aorta, which has a giant Schmorl node and counts as neither.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from body_mask_table import DATA, REAL, RENDERED

from VertebralGradingLib.diffusion_autoencoder.method import as_arrays, is_shown, loaded
from VertebralGradingLib.evaluation.statistics import area_under_curve
from VertebralGradingLib.image.io import read_labels, read_volume
from VertebralGradingLib.image.png import write_png
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report.strip import strip
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.reformation import sagittal_patch
from VertebralGradingLib.spine.spine import Spine, build_spine

FRACTURED = {
    "verse004 rendered": {"T9", "T10", "L1"},
    "healthivert-0007 rendered": {"L1", "L2", "L3", "L4", "L5"},
}
UNKNOWN = {
    "verse004 rendered": {"L4", "L5"},
    "healthivert-0007 rendered": {"T9", "T10"},
    "totalseg-aorta": {"T11"},
}
STRIPS = (
    ("verse004 rendered", "L1", (0.0, 1.0, 2.0, 3.0)),
    ("healthivert-0007 rendered", "L1", (0.0, 1.0, 2.0, 3.0)),
    ("totalseg-example", "L1", (0.0, 1.0, 2.0, 3.0)),
    ("totalseg-example", "L3", (0.0, 1.0, 2.0, 3.0)),
    ("totalseg-aorta", "T11", (0.0, 1.0, 2.0, 3.0)),
    ("lidc-0314", "T8", (0.0, 1.0, 2.0, 3.0)),
)


def main() -> None:
    """Print the table; draw the strips where a folder is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--strips", type=Path, help="folder for pictures")
    parser.add_argument("--preset", default="fine", help="how finely they are drawn")
    parser.add_argument("--no-project", action="store_true", help="move along the plain normal")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("no data folder: set VERTEBRAL_GRADING_DATA")
        return
    system, version = loaded()
    print(f"model {version}; score 0-3 of every vertebra, * fractured, ? not known")
    cases = {name: (ct, spine) for name, ct, spine in _cases()}
    known: list[tuple[bool, float, float]] = []
    for name, (ct, spine) in cases.items():
        shown = [v for v in spine.vertebrae if v.gradable_level and is_shown(ct, spine, v)]
        z = system.encode(np.stack([sagittal_patch(ct, spine, v).image for v in shown]))
        cells = []
        rows = zip(shown, system.grader.score(z), system.grader.distance(z), system.grader.direct(z), strict=True)
        for v, score, distance, direct in rows:
            broken, unknown = v.level in FRACTURED.get(name, ()), v.level in UNKNOWN.get(name, ())
            cells.append(f"{v.level}{'*' if broken else '?' if unknown else ''} {score:.1f} ({direct})")
            if not unknown:
                known.append((broken, float(distance), float(score)))
        print(f"  {name:26s} {', '.join(cells)}")
    truth, distances, scores = (np.array(column) for column in zip(*known, strict=True))
    print(
        f"{len(truth)} vertebrae, {int(truth.sum())} fractured: AUC {area_under_curve(truth, distances):.3f}; "
        f"of {int((~truth).sum())} whole ones {int((scores[~truth] >= 1.5).sum())} have a score of 1.5 and more, "
        f"{int((scores[~truth] >= 0.5).sum())} of 0.5 and more; of the fractured {int((scores[truth] >= 1.5).sum())}"
    )
    for name, level, wanted in STRIPS if args.strips else ():
        _draw(system, *cases[name], name, level, wanted, args)


def _cases() -> list[tuple[str, Volume, Spine]]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.mask_ct import ct_from_mask

    out = [(ct.split("/")[0], read_volume(DATA / ct), build_spine(read_points(DATA / points))) for ct, points in REAL]
    for name, mask, points in RENDERED:
        ct = ct_from_mask(interpret(read_labels(DATA / mask)).volume)
        out.append((name, ct, build_spine(read_points(DATA / points))))
    return out


def _draw(system: Any, ct: Volume, spine: Spine, name: str, level: str, wanted: tuple[float, ...], args: Any) -> None:
    patch = sagittal_patch(ct, spine, spine.by_level[level]).image
    made = as_arrays(system.counterfactuals(patch, list(wanted), args.preset, not args.no_project))
    reached = ", ".join(f"{g:.0f} -> {r:.1f}" for g, r in zip(made["wanted"], made["reached"], strict=True))
    shares = ", ".join(f"{share:.2f}" for share in made["outside_share"])
    print(
        f"  {name} {level}: score {made['score']:.1f}, redrawn {made['psnr_db']:.1f} dB, {reached}, outside {shares}, "
        f"warnings {sorted({one for each in made['warnings'] for one in each})}"
    )
    write_png(strip(made), args.strips / f"{name.replace(' ', '-')}-{level}.png")


if __name__ == "__main__":
    main()
