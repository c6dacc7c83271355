"""Too little memory: smaller batches, then the CPU, and the user is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.models.batches import in_company, is_out_of_memory, run_in_batches

torch = pytest.importorskip("torch")


class Device:
    """Computes squares; a device holds only so many items at once."""

    def __init__(self, **room: int) -> None:
        self.room = room
        self.calls: list[tuple[int, str]] = []

    def __call__(self, items: Sequence[int], device: str) -> list[int]:
        self.calls.append((len(items), device))
        if len(items) > self.room[device.partition(":")[0]]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [item**2 for item in items]


def test_enough_memory_needs_no_note() -> None:
    device = Device(cpu=100)
    out = run_in_batches(device, range(10), "cpu", batch_size=4)
    assert out.results == tuple(n**2 for n in range(10))
    assert (out.device, out.batch_size, out.notes) == ("cpu", 4, ())
    assert [count for count, _ in device.calls] == [4, 4, 2]


def test_the_batch_is_halved_until_it_fits_and_nothing_is_lost() -> None:
    device = Device(cuda=3, cpu=100)
    out = run_in_batches(device, range(11), "cuda:0", batch_size=8)
    assert out.results == tuple(n**2 for n in range(11))
    assert (out.device, out.batch_size) == ("cuda:0", 2)
    assert len(out.notes) == 1
    assert "smaller" in out.notes[0]


def test_at_one_item_the_cpu_takes_over_and_says_so() -> None:
    device = Device(cuda=0, cpu=100)
    out = run_in_batches(device, range(5), "cuda:0", batch_size=4)
    assert out.results == tuple(n**2 for n in range(5))
    assert out.device == "cpu"
    assert "CPU" in out.notes[-1]


def test_when_the_cpu_is_too_small_too_it_is_a_typed_error() -> None:
    with pytest.raises(MethodError) as caught:
        run_in_batches(Device(cuda=0, cpu=0), range(2), "cuda:0")
    assert caught.value.hint


def test_other_errors_and_wrong_counts_are_not_swallowed() -> None:
    def broken(items: Sequence[int], device: str) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        run_in_batches(broken, range(2), "cpu")
    with pytest.raises(ValueError, match="results"):
        run_in_batches(lambda items, device: [1], range(3), "cpu")


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 50, dtype=torch.float64)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert run_in_batches(Device(cpu=1), [], "cpu").results == ()


def test_a_single_item_comes_with_its_copy_and_one_answer_returns() -> None:
    seen: list[int] = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return 2.0 * batch + torch.arange(len(batch), device=batch.device)[:, None]

    assert in_company(network, torch.tensor([[1.0, 2.0]])).tolist() == [[2.0, 4.0]]
    assert in_company(network, torch.ones(3, 1)).tolist() == [[2.0], [3.0], [4.0]]
    assert seen == [2, 3]
    assert in_company(network, torch.ones(1, 1, device="meta")).shape == (1, 1)
    assert seen[-1] == 1  # what a device other than the CPU gains nothing by
