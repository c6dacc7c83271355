"""How often an endplate is called depressed, "short, endplates flat" is raised, and each "consider" line comes.

Synthetic spines with true masks: by true grade, and by what the phantom has drawn (its mimics). The phantom draws no
Cupid's bow and no limbus vertebra: there only lines that come without cause are counted; ``--analytic`` adds analytic
bodies that have them, and ``--real`` adds the real development data. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import DATA, can_draw

from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.findings.depression import ENDPLATES, compared_endplates
from VertebralGradingLib.methods.considerations import CODES, FLAT
from VertebralGradingLib.morphometry.usual import MARGIN_MM

REAL = (
    ("verse004", None, "verse004/sub-verse004_bodies.mrk.json", "verse004/sub-verse004_seg-vert_msk.nii.gz"),
    ("healthivert-0007", None, "healthivert-0007/0007_bodies.mrk.json", "healthivert-0007/0007_msk.nii.gz"),
    ("totalseg-aorta", "totalseg-aorta/ct_cropped.nii.gz", "totalseg-aorta/ct_cropped_bodies.mrk.json", None),
    ("totalseg-example", "totalseg-example/example_ct.nii.gz", "totalseg-example/example_bodies.mrk.json", None),
    ("lidc-0314", "lidc-0314/LIDC-IDRI-0314_spine_crop_ct.nii.gz", "lidc-0314/LIDC-IDRI-0314_bodies.mrk.json", None),
)
"""Name, CT, points and mask; the bodies of those without a mask are found on the CT."""
_SOUND_LOSS = 0.02
"""Below this true loss an endplate is unbroken."""


@dataclass(frozen=True)
class Row:
    """One vertebra: its finding, true grade and loss, and what was drawn on it."""

    finding: Finding
    grade: int
    loss: float
    mimics: tuple[str, ...]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7000)
    parser.add_argument("--mimics", type=float, default=1.0)
    parser.add_argument("--only", help="one mimic, such as scheuermann, drawn wherever it can be; nothing is broken")
    parser.add_argument(
        "--analytic", type=int, default=0, help="so many analytic bodies of each kind, with their marks"
    )
    parser.add_argument("--real", action="store_true", help="also the real development data")
    args = parser.parse_args()
    if args.spines and can_draw():
        rows: list[Row] = []
        for n in range(args.spines):
            rows += _only(args.seed + n, args.only) if args.only else _spine(args.seed + n, args.mimics)
            if (n + 1) % 20 == 0:
                print(f"after {n + 1} spines: {len(rows)} vertebrae", flush=True)
        _depths(rows)
        _flat(rows)
        _lines(rows)
    if args.analytic:
        _analytic(args.analytic, args.seed)
    if args.real and DATA.is_dir():
        _real()


def _spine(seed: int, mimics: float) -> Iterator[Row]:
    from VertebralGradingLib.evaluation.bodies import draw_case
    from VertebralGradingLib.pipeline import grade
    from VertebralGradingLib.segmentation.labels import interpret
    from VertebralGradingLib.spine.spine import build_spine

    case = draw_case(seed, mimics, images=False)
    report = grade(None, build_spine(case.points), interpret(case.mask, "verse"))
    for finding in report.findings:
        true = case.truths.get(finding.level)
        if true is not None and compared_endplates(finding):
            yield Row(finding, true.grade, true.graded, tuple(case.mimics.get(finding.level, ())))


def _only(seed: int, mimic: str) -> Iterator[Row]:
    """A whole spine, T1 to L5, with one kind of mimic and no fracture."""
    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import prepare
    from VertebralGradingLib.phantom.masks import body_masks
    from VertebralGradingLib.phantom.mimics import add_mimics
    from VertebralGradingLib.phantom.patches import body_middle
    from VertebralGradingLib.phantom.plans import LEVELS
    from VertebralGradingLib.pipeline import grade
    from VertebralGradingLib.segmentation.labels import interpret
    from VertebralGradingLib.spine.points import Point
    from VertebralGradingLib.spine.spine import build_spine

    spine, mimics = add_mimics(draw_spine(seed), seed, 25.0, mimic)
    levels = [level for level in LEVELS if level in spine.levels][:17]
    ready = prepare(spine)
    points = []
    for level in levels:
        frame = ready.frames[spine.levels.index(level)]
        x, y, z = (float(v) for v in frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3])
        points.append(Point((x, y, z), level, level))
    report = grade(None, build_spine(points), interpret(body_masks(ready, levels), "verse"))
    for finding in report.findings:
        if compared_endplates(finding):
            yield Row(finding, 0, 0.0, tuple(mimics.get(finding.level, ())))


def _depths(rows: list[Row]) -> None:
    """Depth and excess of unbroken endplates without mimics, on which the margins were chosen; shares depressed."""
    print("endplates: n, mean depth (mm), excess over usual: mean, sd, 95 %, 99 %; share called depressed")
    for part in MARGIN_MM:
        for name in ENDPLATES:
            plates = [
                compared_endplates(row.finding)[name]
                for row in rows
                if not row.mimics and row.loss < _SOUND_LOSS and (row.finding.level[0] == "T") == (part == "thoracic")
            ]
            if plates:
                depth = np.array([plate["depth_mm"] for plate in plates])
                excess = np.array([plate["excess_mm"] for plate in plates])
                share = np.mean([plate["depressed"] for plate in plates])
                limits = np.percentile(excess, (95, 99))
                print(
                    f"  sound, {part}, {name}: {len(plates)}, {depth.mean():.2f}, {excess.mean():.2f}, "
                    f"{excess.std():.2f}, {limits[0]:.2f}, {limits[1]:.2f}; {100 * share:.1f} %"
                )
    for grade in range(4):
        of = [row for row in rows if row.grade == grade]
        any_plate = [any(p["depressed"] for p in compared_endplates(row.finding).values()) for row in of]
        if of:
            print(f"  true grade {grade}: {sum(any_plate)} of {len(of)} have a depressed endplate")


def _flat(rows: list[Row]) -> None:
    """The flag, among those it can be raised on: borderline and grade 1 or more."""
    found: dict[str, Counter[bool]] = defaultdict(Counter)
    for row in rows:
        if row.finding.grade or row.finding.state == "borderline":
            kind = "broken" if row.loss >= _SOUND_LOSS else f"not broken ({', '.join(row.mimics) or 'no mimic'})"
            found[f"{row.finding.state}, {kind}"][FLAT in row.finding.flags] += 1
    print('"short, endplates flat", of those called so:')
    for kind, count in sorted(found.items()):
        print(f"  {kind}: {count[True]} of {count.total()}")


def _lines(rows: list[Row]) -> None:
    """Each line, by what is drawn."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for row in rows:
        broken = "broken" if row.loss >= _SOUND_LOSS else "not broken"
        for name in row.mimics or ("no mimic",):
            total[f"{name}, {broken}"] += 1
            for one in row.finding.considerations:
                found[f"{name}, {broken}"][one.code] += 1
    print(f"lines by what is drawn: {', '.join(CODES)}, of")
    for kind, count in sorted(total.items()):
        print(f"  {kind}: {', '.join(str(found[kind][code]) for code in CODES)}, of {count}")


def _analytic(count: int, seed: int) -> None:
    """L3 among three bodies with usual bowls, on turned grids with slices of 1 or 2 mm: two dips, a missing corner."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.analytic import Pit, analytic_spine, grid_around, label_volume, usual_heights
    from scipy.spatial.transform import Rotation

    from VertebralGradingLib.pipeline import grade
    from VertebralGradingLib.segmentation.labels import interpret
    from VertebralGradingLib.spine.spine import build_spine

    levels = ("L2", "L3", "L4")
    print(f"analytic L3: lines {', '.join(CODES)}, of")
    for mark, low, high in (("nothing", 0, 0), ("dips", 2, 3), ("dips", 3, 5), ("corner", 3, 5), ("corner", 5, 8)):
        rng, found = np.random.default_rng(seed), Counter[str]()
        for _ in range(count):
            deep, side = rng.uniform(low, high), rng.uniform(8, 10)
            dips = [Pit("L3", -1, deep, rng.uniform(11, 16), rng.uniform(11, 14), -6.0, s * side) for s in (-1, 1)]
            corner = [Pit("L3", 1, deep, rng.uniform(10, 14), rng.uniform(24, 36), 15.0, power=4.0)]
            pits = {"nothing": [], "dips": dips, "corner": corner}[mark]
            heights, depth = usual_heights(levels, rng.uniform(0.9, 1.1)), rng.uniform(28, 34)
            shape = analytic_spine(levels, heights, depth=depth, pits=pits)
            turn = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
            grid = grid_around(shape, (0.9, 0.9, float(rng.choice([1.0, 2.0]))), turn, phase=rng.uniform(0, 1, 3))
            report = grade(None, build_spine(shape.points()), interpret(label_volume(shape, *grid)))
            found.update(one.code for one in report.findings[1].considerations)
        print(f"  {mark}, {low}-{high} mm deep: {', '.join(str(found[code]) for code in CODES)}, of {count}")


def _real() -> None:
    from VertebralGradingLib.files import read_study
    from VertebralGradingLib.pipeline import grade

    for name, *files in REAL:
        report: Report = grade(*read_study(*(None if file is None else DATA / file for file in files)))
        print(f"{name}: {report.summary['spinal_deformity_index_text']}")
        for finding in report.findings:
            plates = compared_endplates(finding)
            if plates:
                told = ", ".join(f"{key} {p['depth_mm']:.1f} (usual {p['usual_mm']:.1f})" for key, p in plates.items())
                notes = [
                    *(key for key in plates if plates[key]["depressed"]),
                    *([FLAT] if FLAT in finding.flags else []),
                ]
                notes += [one.text for one in finding.considerations]
                print(f"  {finding.level} {finding.state}: {told}; {'; '.join(notes) or '-'}")


if __name__ == "__main__":
    main()
