"""How long a user waits: starting the worker, first row and all rows, in a warm worker and in this process.

Seventeen vertebrae (T1-L5) are graded by morphometry with a given mask, the case that needs no search on CT.
"""

from __future__ import annotations

import time

import numpy as np

from VertebralGradingLib.backend.blocking import WorkerClient
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation.labels import VertebraLabels
from VertebralGradingLib.spine.anatomy import LUMBAR, THORACIC
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import build_spine

LEVELS = (*THORACIC[:12], *LUMBAR[:5])


def seventeen() -> tuple[Volume, list[Point], VertebraLabels]:
    """A straight spine of boxes that grow caudally: CT, centroids, mask (1 mm)."""
    heights = np.linspace(17.0, 27.0, len(LEVELS))
    gap, top = 7.0, 20.0
    length = int(heights.sum() + gap * len(LEVELS) + 2 * top)
    labels = np.zeros((80, 90, length), dtype=np.uint8)
    points, place = [], top
    affine = np.diag([1.0, 1.0, -1.0, 1.0])
    for number, (level, height) in enumerate(zip(LEVELS, heights, strict=True), start=1):
        labels[20:60, 30:62, round(place) : round(place + height)] = number
        points.append(Point((39.5, 45.5, -(round(place) + round(place + height) - 1) / 2), level, level))
        place += height + gap
    mask = Volume(labels, affine)
    ct = np.where(labels > 0, 200, 40).astype(np.int16)
    ct[:8] = -100
    return Volume(ct, affine), points, VertebraLabels(mask, dict(enumerate(LEVELS, start=1)), "body")


def main() -> None:
    """Print seconds and ratios."""
    ct, points, labels = seventeen()
    spine = build_spine(points)
    grade(ct, spine, labels)  # libraries are loaded once
    start = time.perf_counter()
    grade(ct, spine, labels)
    here = time.perf_counter() - start
    start = time.perf_counter()
    with WorkerClient() as client:
        client.wait_ready()
        ready = time.perf_counter() - start
        print(f"process start to ready: {ready:.2f} s")
        for name in ("first request", "warm"):
            rows: list[float] = []
            start = time.perf_counter()
            answer = client.grade(
                ct, points, labels, on_finding=lambda row, t=start, r=rows: r.append(time.perf_counter() - t)
            )
            total = time.perf_counter() - start
            graded = sum(finding["grade"] is not None for finding in answer["report"]["findings"])
            print(f"{name}: first row {rows[0]:.2f} s, {len(rows)} rows {total:.2f} s ({graded} graded)")
    print(f"in this process: {len(LEVELS)} rows {here:.2f} s; warm worker / in process = {total / here:.2f}")


if __name__ == "__main__":
    main()
