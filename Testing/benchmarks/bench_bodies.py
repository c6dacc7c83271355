"""Time to grade a spine from centroids alone: bodies found by the network against the classical search, in one run.

On a phantom, and on the longest real CT where there is a data folder. Threads are PyTorch's default.
"""

from __future__ import annotations

import time
from typing import Any

from body_mask_table import DATA, REAL

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.evaluation.bodies import draw_case
from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation.finders import choose_finder
from VertebralGradingLib.segmentation.learned import NetworkFinder
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine


class Timed:
    """A network that adds up how long it runs."""

    def __init__(self, network: Any) -> None:
        self.network, self.seconds = network, 0.0

    def __call__(self, block: Any) -> Any:
        started = time.perf_counter()
        out = self.network(block)
        self.seconds += time.perf_counter() - started
        return out


def main() -> None:
    """Print times, their ratio, and the network's share."""
    try:
        finder = choose_finder("network").find
    except MethodError as error:
        print(f"skipped: {error.message}")
        return
    assert isinstance(finder, NetworkFinder)
    timed = finder.network = Timed(finder.network)
    case = draw_case(5002, 0.0, 1.5)
    assert case.ct is not None
    spines: dict[str, tuple[Volume, Spine]] = {"phantom": (case.ct, build_spine(case.clicks))}
    if DATA.is_dir():
        ct, points = REAL[1]
        spines[ct.split("/", maxsplit=1)[0]] = read_volume(DATA / ct), build_spine(read_points(DATA / points))
    for name, (ct, spine) in spines.items():
        grade(ct, spine, bodies_by="network")  # the first run pays for what is loaded once
        timed.seconds = 0.0
        seconds = {}
        for search in ("network", "classical"):
            started = time.perf_counter()
            grade(ct, spine, bodies_by=search)
            seconds[search] = time.perf_counter() - started
        count = sum(vertebra.gradable_level for vertebra in spine.vertebrae)
        print(
            f"{name}: {count} vertebrae, classical {seconds['classical']:.1f} s, network {seconds['network']:.1f} s "
            f"({100 * timed.seconds / seconds['network']:.0f} % of it in the network), "
            f"ratio {seconds['classical'] / seconds['network']:.1f}"
        )


if __name__ == "__main__":
    main()
