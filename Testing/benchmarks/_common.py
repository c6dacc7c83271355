"""What benchmarks share; ``make bench`` does not run files whose names begin with _."""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
"""Folder of real CTs."""


def can_draw(*libraries: str) -> bool:
    """Let PyTorch, with which phantoms are drawn, take one thread; where it or a library is missing, say so."""
    try:
        for name in (*libraries, "torch"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        return False
    import torch

    torch.set_num_threads(1)
    return True


def network_arguments(threads: int, repeats: int) -> argparse.Namespace:
    """Arguments ``threads``, which are set, ``repeats`` and ``configs`` of a script that times networks."""
    import torch

    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--configs", nargs="*", default=["default", "small"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
