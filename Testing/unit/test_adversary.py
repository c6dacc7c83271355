"""Losses of HealthiVert-GAN: who learns from what, soft against as released, weights and their batches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from VertebralGradingLib.healthivert.gap import Gap, closed, closing, opened  # noqa: E402
from VertebralGradingLib.healthivert.network import Drawn  # noqa: E402
from VertebralGradingLib.training.adversary import (  # noqa: E402
    Discriminators,
    Truth,
    Weights,
    fooled,
    generator_losses,
    sobel,
    told_apart,
)

SHAPE = (2, 1, 64, 64)


def truth(batch: int = 2) -> Truth:
    torch.manual_seed(0)
    body = torch.zeros(batch, 1, 64, 64)
    body[:, :, 24:40, 20:50] = 1.0
    mask = torch.zeros_like(body)
    mask[:, :, 22:42] = 1.0
    return Truth(torch.rand_like(body) * 2 - 1, body, body.roll(20, 2), torch.full((batch,), 16.0), mask)


def drawn(true: Truth, gap: int = 20) -> Drawn:
    share = (true.height / gap)[:, None].expand(-1, 2).clone()
    return Drawn(true.ct, true.ct, true.neighbours, true.body, share)


def test_truth_costs_nothing() -> None:
    true = truth()
    losses = generator_losses(drawn(true), true.ct, true.ct, true.body, true, 20, Weights())
    assert set(losses) == {"reconstruction", "dice", "neighbours", "edge", "cross", "height"}
    for value in losses.values():
        assert float(value) == pytest.approx(0.0, abs=1e-3)


def test_weights_are_the_published_ones() -> None:
    true = truth()
    wrong = drawn(true)
    off = generator_losses(wrong, true.ct + 0.01, true.ct + 0.01, true.body, true, 20, Weights())
    assert float(off["reconstruction"]) == pytest.approx(0.01 * 200 * 2 * 64 * 64 / (20 * 64), rel=1e-3)
    tall = Drawn(true.ct, true.ct, true.neighbours, true.body, wrong.heights * 1.5)
    high = generator_losses(tall, true.ct, true.ct, true.body, true, 20, Weights())
    assert float(high["height"]) == pytest.approx(40 * 0.5 * 2, rel=1e-3)
    assert float(off["cross"]) == 0.0  # the released code has none
    empty = generator_losses(wrong, true.ct, true.ct, torch.zeros_like(true.body), true, 20, Weights())
    assert float(empty["dice"]) == pytest.approx(15.0, rel=0.01)
    assert float(empty["edge"]) == pytest.approx(800 * float(sobel(true.body).square().mean()), rel=1e-3)


def test_loss_of_an_item_does_not_depend_on_the_batch_but_as_released_it_does() -> None:
    def reconstruction(batch: int, weights: Weights) -> float:
        true = truth(batch)
        return float(
            generator_losses(drawn(true), true.ct + 0.1, true.ct, true.body, true, 20, weights)["reconstruction"]
        )

    assert reconstruction(4, Weights()) == pytest.approx(reconstruction(1, Weights()), rel=1e-4)
    released = Weights(edge_on="as_released")
    assert reconstruction(4, released) == pytest.approx(reconstruction(1, released) / 4, rel=1e-4)


@pytest.mark.parametrize(("edge_on", "learns"), [("soft", True), ("as_released", False)])
def test_edges_teach_the_generator_only_when_they_are_soft(edge_on: str, learns: bool) -> None:
    true = truth()
    body = (0.3 + 0.4 * true.body).requires_grad_(True)
    losses = generator_losses(drawn(true), true.ct, true.ct, body, true, 20, Weights(edge_on=edge_on))  # type: ignore[arg-type]
    if learns:
        losses["edge"].backward()
        assert body.grad is not None and float(body.grad.abs().max()) > 0
    else:
        assert not losses["edge"].requires_grad


def test_judges_and_generators_do_not_learn_from_each_other_s_loss() -> None:
    torch.manual_seed(0)
    judges = Discriminators(8)
    image = torch.rand(SHAPE, requires_grad=True)
    real = (torch.rand(SHAPE), torch.rand(SHAPE), torch.rand(SHAPE))
    before = {name: value.clone() for name, value in judges.state_dict().items()}
    fooled(judges, (image, image, image)).backward()
    assert image.grad is not None and float(image.grad.abs().max()) > 0
    assert all(one.grad is None for one in judges.parameters())
    assert all(torch.equal(value, before[name]) for name, value in judges.state_dict().items())
    image.grad = None
    told_apart(judges, real, (image, image, image)).backward()
    assert image.grad is None
    assert all(one.grad is not None for one in judges.parameters())


def test_judges_learn_to_tell_apart() -> None:
    torch.manual_seed(0)
    judges = Discriminators(8)
    optimizer = torch.optim.Adam(judges.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        real, drawn_ = torch.rand(4, 1, 64, 64), torch.full((4, 1, 64, 64), 0.5) + 0.01 * torch.randn(4, 1, 64, 64)
        loss = told_apart(judges, (real,) * 3, (drawn_,) * 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_rows_of_closing_are_those_of_the_closed_slice() -> None:
    rng = np.random.default_rng(0)
    original = rng.normal(size=(64, 5))
    label = np.zeros((64, 5), dtype=bool)
    label[24:37] = True
    gap = Gap.around(label, 20)
    filled = np.where(gap.mask((64, 5)), rng.normal(size=(64, 5)), opened(original, gap))
    for height in (9, 13, 18):
        inside, outer, inner = closing(gap, height, 64)
        by_rows = np.where(inside[:, None], filled[inner], original[outer])
        assert np.array_equal(by_rows, closed(original, filled, gap, height))
        assert inside.sum() == height
