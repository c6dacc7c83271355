"""How many whole vertebrae get no grade on thick slices, and what the grades of the others are worth.

Synthetic spines that no rule was fitted on, and the development CTs in thicker slices (:mod:`rendering.thick`), from
centroids alone. Grade 2 and more is judged twice: without the vertebrae that were refused, and with each of them
counted as wrong. Undecided and treated vertebrae have no grade either, but are no refusals. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _common import DATA, can_draw
from body_mask_table import REAL, RENDERED

from VertebralGradingLib.findings.flags import CUT
from VertebralGradingLib.findings.states import NOT_ASSESSED
from VertebralGradingLib.image.io import read_labels, read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine

THICK_MM = (1.0, 1.5, 2.5, 3.0, 4.0)
SEED = 7300
Judged = tuple[int, int | None, str]
"""True grade, grade found (None without one), and why it was refused (empty where it was not)."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spines", type=int, default=100, help="synthetic spines, a fifth of each thickness")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--search", default="network", help="network or classical")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    if args.spines and can_draw():
        _phantoms(args.spines, args.seed, args.search, args.workers)
    if DATA.is_dir():
        _development(args.search)


def _phantoms(spines: int, seed: int, search: str, workers: int) -> None:
    from VertebralGradingLib.evaluation.bodies import evaluate_bodies

    rows = evaluate_bodies(spines, seed, (search,), workers=workers, slices_mm=THICK_MM)
    print(f"synthetic spines, seeds {seed} to {seed + spines - 1}, bodies by {search}")
    for thickness in THICK_MM:
        judged = [
            (row.true_grade or 0, row.grade, row.outcome if _refused(row.grade, row.outcome) else "")
            for row in rows
            if row.slice_mm == thickness
        ]
        print(f"  {thickness} mm: {_written(judged)}")
    for title, refused in (("vertebrae with a grade or left to the reader", False), ("refused", True)):
        errors = [row.loss - row.true_loss for row in rows if _refused(row.grade, row.outcome) == refused]
        known = np.array(errors)[np.isfinite(errors)]
        if len(known):
            print(f"  loss of {len(known)} {title}: root mean square error {np.sqrt(np.mean(known**2)):.3f}")


def _refused(found: int | None, outcome: str) -> bool:
    return found is None and outcome not in ("undecided", "treated")


def _written(judged: Sequence[Judged]) -> str:
    """Refused share with reasons; sensitivity and specificity for grade 2 and more, without and with the refused."""
    why = Counter(reason.split(":")[0] for *_, reason in judged if reason)
    told = "; ".join(f"{reason} {count}" for reason, count in why.most_common())
    text = f"refused {_share(sum(why.values()), len(judged))}" + (f" ({told})" if told else "")
    broken = [one for one in judged if one[0] >= 2]
    sound = [one for one in judged if one[0] < 2]
    for title, kept in (("graded", lambda one: not one[2]), ("refused as wrong", lambda one: True)):
        hit = [(one[1] or 0) >= 2 and not one[2] for one in broken if kept(one)]
        right = [(one[1] or 0) < 2 and not one[2] for one in sound if kept(one)]
        text += f"; {title}: sensitivity {_share(sum(hit), len(hit))}, specificity {_share(sum(right), len(right))}"
    return text


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" = {part / whole:.3f}" if whole else "")


def _cases() -> Iterator[tuple[str, Volume, Spine, dict[str, int]]]:
    """Name, CT, centroids, and the grades above 0 that its own mask gives; of the real CTs none is known."""
    for name, points in REAL:
        if "tptbox" not in name:  # a single vertebra
            yield name.split("/")[0], read_volume(DATA / name), build_spine(read_points(DATA / points)), {}
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.mask_ct import ct_from_mask

    for name, mask_name, points in RENDERED:
        mask, spine = read_labels(DATA / mask_name), build_spine(read_points(DATA / points))
        given = grade(None, spine, interpret(mask))
        yield name, ct_from_mask(mask), spine, {f.level: f.grade for f in given.findings if f.grade}


def _development(search: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.thick import thicker

    print(
        f"development CTs in thicker slices, bodies by {search}; a vertebra that is cut at any thickness does not count"
    )
    every: dict[float, list[Judged]] = {}
    for name, ct, spine, true in _cases():
        reports = {
            thickness: grade(thicker(ct, thickness), spine, bodies_by=search)
            for thickness in THICK_MM
            if thickness >= 0.95 * float(np.abs(ct.affine[2, :3]).max())
        }
        cut = {
            f.level for report in reports.values() for f in report.findings if {CUT, "outside_volume"} & set(f.flags)
        }
        for thickness, report in reports.items():
            whole = [finding for finding in report.findings if finding.level not in cut]
            judged = [(true.get(f.level, 0), f.grade, f.reason if f.state == NOT_ASSESSED else "") for f in whole]
            every.setdefault(thickness, []).extend(judged)
            said = [f"{f.level} {f.state}: {f.reason}" for f in whole if f.grade is None]
            said += [f"{f.level} {f.state} ({f.loss_percent:.0f} %)" for f in whole if f.grade]
            print(f"  {name} {thickness} mm, {len(whole)} whole: {', '.join(said) or 'all below grade 1'}", flush=True)
    for thickness in sorted(every):
        print(f"  all, {thickness} mm: {_written(every[thickness])}")


if __name__ == "__main__":
    main()
