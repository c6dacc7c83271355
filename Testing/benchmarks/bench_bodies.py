"""Time to grade a spine from centroids alone, in one run: vertebrae at once in the network, one by one, and classical.

On a phantom, and on the longest real CT where there is a data folder. One by one each vertebra's first block goes
through the network alone, and then its second one with its mirror image. One thread; seconds are the processor's, so
that what else runs there does not count.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from body_mask_table import DATA, REAL
from numpy.typing import NDArray

from VertebralGradingLib import pipeline
from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.evaluation.bodies import draw_case
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.segmentation.finders import Finder, choose_finder
from VertebralGradingLib.segmentation.learned import NetworkFinder
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine

_REPEATS = 3


class Timed:
    """A network that adds up how long it runs."""

    def __init__(self, network: Any) -> None:
        self.network, self.seconds = network, 0.0

    def __call__(self, blocks: Any) -> Any:
        started = time.process_time()
        out = self.network(blocks)
        self.seconds += time.process_time() - started
        return out


class OneByOne(NetworkFinder):
    """The search as it was: a first block is a batch of one."""

    def _shares(self, hu: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(hu[:, None], dtype=np.float32)).to(self.device)
            seen: NDArray[np.float32] = self.network(x)[:, 0].float().sigmoid().cpu().numpy()
        return seen


def main() -> None:
    """Print times, ratios, the network's share, and how far the two ways differ."""
    try:
        finder = choose_finder("network")
    except MethodError as error:
        print(f"skipped: {error.message}")
        return
    assert isinstance(finder.find, NetworkFinder)
    torch.set_num_threads(1)
    network, calibration = finder.find.network, finder.find.calibration
    together, alone = (kind(Timed(network), calibration=calibration) for kind in (NetworkFinder, OneByOne))
    ways = {
        "at once": replace(finder, find=together, find_all=together.find_all),
        "one by one": replace(finder, find=alone, find_all=None),
        "classical": choose_finder("classical"),
    }
    case = draw_case(5002, 0.0, 1.5)
    assert case.ct is not None
    spines: dict[str, tuple[Volume, Spine]] = {"phantom": (case.ct, build_spine(case.clicks))}
    if DATA.is_dir():
        ct, points = REAL[1]
        spines[ct.split("/", maxsplit=1)[0]] = read_volume(DATA / ct), build_spine(read_points(DATA / points))
    for name, (volume, spine) in spines.items():
        _compare(name, volume, spine, ways)


def _compare(name: str, ct: Volume, spine: Spine, ways: dict[str, Finder]) -> None:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    shares: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, list[Finding]] = {}
    for turn in range(_REPEATS + 1):
        for way, finder in ways.items():
            timed = getattr(finder.find, "network", None)
            before = timed.seconds if timed else 0.0
            took, found[way] = _graded(ct, spine, finder)
            if turn:  # the first pays for what is loaded once
                seconds[way].append(took)
                shares[way].append((timed.seconds - before) / took if timed else 0.0)
    took = {way: median(values) for way, values in seconds.items()}
    print(f"{name}: {len(found['at once'])} vertebrae, medians of {_REPEATS}")
    for way in ways:
        inside = f", {100 * median(shares[way]):.0f} % of it in the network" if any(shares[way]) else ""
        print(f"  {way}: {took[way]:.2f} s{inside}")
    print(f"  at once {took['one by one'] / took['at once']:.2f} times as fast as one by one", end=", ")
    print(f"{took['classical'] / took['at once']:.2f} times as fast as the classical search")
    print("  largest difference:", _difference(found["at once"], found["one by one"]))


def _graded(ct: Volume, spine: Spine, finder: Finder) -> tuple[float, list[Finding]]:
    before = pipeline.choose_finder
    pipeline.choose_finder = lambda *_: finder
    try:
        started = time.process_time()
        report = pipeline.grade(ct, spine, bodies_by="network")
        return time.process_time() - started, list(report.findings)
    finally:
        pipeline.choose_finder = before


def _difference(some: list[Finding], others: list[Finding]) -> str:
    """Of grades, scores, intervals and heights; and of flags, whether there is any."""
    pairs = list(zip(some, others, strict=True))
    assert all(a.level == b.level and a.heights_mm.keys() == b.heights_mm.keys() for a, b in pairs)
    graded = [(a, b) for a, b in pairs if a.grade is not None and b.grade is not None]
    numbers = {
        "grade": [(a.grade, b.grade) for a, b in graded],
        "score": [(a.score, b.score) for a, b in graded],
        "interval": [(a.grade_interval, b.grade_interval) for a, b in graded],
        "height (mm)": [(list(a.heights_mm.values()), list(b.heights_mm.values())) for a, b in pairs if a.heights_mm],
    }
    same = all(a.flags == b.flags and (a.grade is None) == (b.grade is None) for a, b in pairs)
    told = [f"{what} {np.abs(np.subtract(*np.array(two).swapaxes(0, 1))).max():.1e}" for what, two in numbers.items()]
    return ", ".join(told) + (", the same flags" if same else ", OTHER FLAGS")


if __name__ == "__main__":
    main()
