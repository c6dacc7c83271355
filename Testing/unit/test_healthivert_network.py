"""The generators of HealthiVert-GAN: size, what reaches what, contextual attention, attention guidance."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from VertebralGradingLib.healthivert.attention import SliceClassifier, attention  # noqa: E402
from VertebralGradingLib.healthivert.network import ContextualAttention, Generator, GeneratorConfig  # noqa: E402

SMALL = GeneratorConfig(size=64, gap=16, width=8)


def slices(config: GeneratorConfig, count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    ct = torch.rand(count, 1, config.size, config.size) * 2 - 1
    mask = torch.zeros_like(ct)
    top = (config.size - config.gap) // 2
    mask[:, :, top : top + config.gap] = 1.0
    return ct * (1 - mask), mask, torch.tensor([0.0, 0.5])[:count]


def test_published_layout_has_at_most_a_million_parameters() -> None:
    with torch.device("meta"):
        model = Generator()
    assert 0.7e6 < sum(one.numel() for one in model.parameters()) <= 1.0e6


def test_shapes_and_ranges() -> None:
    drawn = Generator(SMALL)(*slices(SMALL))
    for image in (drawn.coarse, drawn.fine):
        assert image.shape == (2, 1, 64, 64) and image.abs().max() <= 1.0
    for label in (drawn.neighbours, drawn.body):
        assert label.shape == (2, 1, 64, 64) and label.min() >= 0 and label.max() <= 1
    assert drawn.heights.shape == (2, 2) and drawn.heights.min() > 0 and drawn.heights.max() < 1


def test_everything_given_is_used_and_everything_learns() -> None:
    model, (ct, mask, place) = Generator(SMALL), slices(SMALL)
    first = model(ct, mask, place)
    for other in (model(ct + 0.3, mask, place), model(ct, mask, place + 0.5), model(ct, mask, place, mask * 0.5)):
        assert not torch.allclose(first.fine, other.fine, atol=1e-6)
    ones = model(ct, mask, place, torch.ones_like(ct))
    assert torch.equal(first.fine, ones.fine)  # nothing known is all ones
    sum(value.sum() for value in vars(first).values()).backward()
    assert all(one.grad is not None for one in model.parameters())


def test_items_of_a_batch_do_not_mix() -> None:
    model, (ct, mask, place) = Generator(SMALL).eval(), slices(SMALL)
    mask[1] = torch.roll(mask[1], 12, 1)
    ct = ct * (1 - mask)
    both = model(ct, mask, place)
    for k in range(2):
        alone = model(ct[k : k + 1], mask[k : k + 1], place[k : k + 1])
        assert torch.allclose(both.fine[k], alone.fine[0], atol=1e-5)


def test_contextual_attention_copies_what_is_alike() -> None:
    """Stripes run through the gap: what is put there is a stripe of the surroundings, at the right columns."""
    x = torch.zeros(1, 2, 32, 32)
    x[:, 0, :, 8:12], x[:, 1, :, 20:24] = 1.0, 1.0
    mask = torch.zeros(1, 1, 128, 128)
    mask[:, :, 48:80] = 1.0
    filled = ContextualAttention()(x, mask)
    middle = filled[0, :, 14:18].mean(1)
    assert middle[0, 8:12].min() > 0.5 and middle[1, 20:24].min() > 0.5
    assert middle[0, 20:24].max() < 0.1 and middle[1, 8:12].max() < 0.1
    blind = ContextualAttention()(x * (1 - torch.nn.functional.interpolate(mask, size=(32, 32))), mask)
    assert torch.isfinite(blind).all()


def test_attention_is_least_where_the_fracture_is() -> None:
    torch.manual_seed(0)
    model = SliceClassifier(8)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)

    def batch(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ct = 0.1 * torch.randn(count, 1, 64, 64, generator=generator)
        broken = torch.rand(count, generator=generator) < 0.5
        row = torch.randint(8, 40, (count,), generator=generator)
        for k in range(count):
            if broken[k]:
                ct[k, 0, row[k] : row[k] + 16, 24:40] += 1.5
        return ct, broken, row

    for _ in range(60):
        ct, broken, _ = batch(16)
        loss = torch.nn.functional.cross_entropy(model(ct), broken.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ct, broken, row = batch(24)
    assert (model(ct).argmax(1) == broken).float().mean() > 0.9
    seen = attention(model.eval(), ct)
    assert seen.shape == ct.shape and seen.min() >= 0 and seen.max() <= 1
    inside = torch.stack([seen[k, 0, row[k] : row[k] + 16, 24:40].mean() for k in range(24)])
    assert (inside[broken] < seen.mean((1, 2, 3))[broken]).float().mean() > 0.8


def test_flat_map_is_no_attention() -> None:
    model = SliceClassifier(8)
    torch.nn.init.zeros_(model.last.weight)
    assert (attention(model, torch.zeros(1, 1, 64, 64)) == 1.0).all()


def test_layout_survives_json_and_nonsense_is_refused() -> None:
    assert GeneratorConfig.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    for wrong in (
        {"size": 60},
        {"width": 7},
        {"gap": 64, "size": 64},
        {"size": "64"},
        {"other": 1},
        {"attention": 1},
        [],
    ):
        with pytest.raises(ValueError):
            GeneratorConfig.from_dict(wrong)
