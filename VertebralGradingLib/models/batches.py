"""Running a network over patches: many on a device whose memory may be too small, and a single one."""

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


def in_company(network: Callable[[Any], Any], batch: Any) -> Any:
    """A network's answer to a batch; on the CPU a single item is sent together with its copy.

    PyTorch takes a convolution on the CPU without oneDNN where one item comes alone and the product of the first four
    sizes of its map (channels and all edges, of a volume all but the last) does not exceed 20480. That is slow in three
    dimensions: one block takes the body network three to four times as long as two. Two-dimensional networks lose less
    by it than a second item costs: they are better called as they are.

    Args:
        network: from a tensor (B, ...) to one (B, ...).
        batch: (B, ...).

    Returns:
        (B, ...).
    """
    if len(batch) != 1 or batch.device.type != "cpu":
        return network(batch)
    return network(batch.repeat_interleave(2, 0))[:1]


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
