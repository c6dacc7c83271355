"""How many cores a network takes."""

from __future__ import annotations

import os


def leave_a_core() -> None:
    """Let PyTorch use all cores but one, as the worker does, where it would use all.

    Its threads wait for each other in busy loops: on two cores that something else used too, a spine that takes 8
    seconds with one thread was not done after four minutes with two.
    """
    import torch

    spare = max((os.cpu_count() or 2) - 1, 1)
    if torch.get_num_threads() > spare:
        torch.set_num_threads(spare)
