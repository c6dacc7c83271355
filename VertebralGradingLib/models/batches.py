"""Running a network over many patches on a device whose memory may be too small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from VertebralGradingLib.errors import MethodError


@dataclass(frozen=True)
class Batched:
    """What came out, and how.

    Attributes:
        results: one for each item, in their order.
        device: where the last of them were computed.
        batch_size: how many at once, in the end.
        notes: what the user should know ("... went to the CPU"), each once.
    """

    results: tuple[Any, ...]
    device: str
    batch_size: int
    notes: tuple[str, ...] = ()


def run_in_batches(
    compute: Callable[[Sequence[Any], str], Sequence[Any]],
    items: Sequence[Any],
    device: str,
    batch_size: int = 16,
) -> Batched:
    """Compute every item; where the device's memory does not suffice, halve the batch, and at one item take the CPU.

    Args:
        compute: from (items of one batch, device) to one result for each; keeps nothing on the device.
        items: patches or blocks.
        device: "cpu", "cuda:N" or "mps".
        batch_size: how many at once at first.

    Raises:
        MethodError: the CPU's memory does not suffice either.
        ValueError: ``compute`` returned another number of results.
    """
    results: list[Any] = []
    notes: list[str] = []
    size = max(1, min(batch_size, len(items) or 1))
    while len(results) < len(items):
        batch = items[len(results) : len(results) + size]
        try:
            answer = compute(batch, device)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if size == 1 and device == "cpu":
                raise MethodError(
                    "There is not enough memory for this method.", "Close other programs, or grade by morphometry."
                ) from error
            _release(device)
            if size > 1:
                size //= 2
                notes.append(f"the memory of {device} was too small: batches were made smaller")
            else:
                notes.append(f"the memory of {device} was too small: the rest was computed on the CPU")
                device = "cpu"
            continue
        if len(answer) != len(batch):
            raise ValueError(f"{len(answer)} results for {len(batch)} items")
        results += answer
    return Batched(tuple(results), device, size, tuple(dict.fromkeys(notes)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, as torch tells it on CUDA, MPS and CPU."""
    if isinstance(error, MemoryError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _release(device: str) -> None:
    """Give cached memory of a device back."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    elif device == "mps":
        import torch

        torch.mps.empty_cache()
