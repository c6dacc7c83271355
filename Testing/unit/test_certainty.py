"""Which columns of a map of lost height are believed: slopes and pits are, spikes at the wall and cut edges are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from VertebralGradingLib.healthivert.certainty import uncertain_columns
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy

Floats = NDArray[np.float64]
Y, Z = np.meshgrid(np.arange(34.0), np.arange(46.0), indexing="ij")
INSIDE = ((Y - 16.5) / 16.0) ** 2 + ((Z - 22.5) / 22.0) ** 2 < 1.0
NOISE = np.random.default_rng(3).normal(0.0, 0.3, Y.shape)


def heights(lost_mm: Floats) -> tuple[Floats, Floats]:
    """A body of 26 mm that lost so much, with noise of 0.3 mm: as it is and as expected."""
    healthy = np.where(INSIDE, 26.0, np.nan)
    return healthy - lost_mm + NOISE, healthy


def wedge() -> Floats:
    return 12.0 * np.clip(1.0 - Y / 33.0, 0.0, 1.0)


def test_a_sound_body_and_a_severe_wedge_are_believed_to_the_wall() -> None:
    for lost in (np.zeros_like(Y), wedge()):
        assert not uncertain_columns(*heights(lost)).any()


def test_a_pit_of_a_schmorl_node_is_believed() -> None:
    away = np.hypot(Y - 16.0, Z - 20.0)
    pit = 5.0 * np.clip(1.0 - (away / 5.0) ** 2, 0.0, None)
    assert not uncertain_columns(*heights(pit)).any()


def test_a_spike_at_the_wall_is_grey_and_nothing_else() -> None:
    lost = wedge()
    spike = INSIDE & (Y < 8) & (np.abs(Z - 10) < 3) & ~_eroded(2)
    lost[spike] += 9.0
    grey = uncertain_columns(*heights(lost))
    assert spike.sum() > 4
    assert grey[spike].all()
    assert not grey[~spike].any()


def test_a_hole_in_a_mask_is_grey() -> None:
    lost = np.zeros_like(Y)
    lost[16, 22] = 8.0
    grey = uncertain_columns(*heights(lost))
    assert grey[16, 22]
    assert grey.sum() == 1


def test_cut_edges_are_grey() -> None:
    own, healthy = heights(np.zeros_like(Y))
    healthy[:4] = np.nan  # nothing is expected there
    own[15:19, 20:24] = 60.0  # as high as the block
    grey = uncertain_columns(own, healthy)
    assert grey[:4][INSIDE[:4]].all()
    assert grey[15:19, 20:24].all()
    assert not grey[~INSIDE].any()
    assert grey.sum() == INSIDE[:4].sum() + 16
    alone = np.full_like(own, np.nan)
    alone[16, 22] = 20.0
    assert uncertain_columns(alone, np.where(np.isfinite(alone), 26.0, np.nan))[16, 22], "nothing bears it out"


def test_the_anterior_rim_has_a_number_that_a_spike_does_not_carry() -> None:
    own, healthy = heights(wedge())
    sound = PseudoHealthy("L1", own, healthy).anterior_rim_loss
    assert sound == pytest.approx(12.0 * (1 - 2.5 / 33) / 26.0, abs=0.03)
    spiked = own.copy()
    spiked[:3, 22] = 3.0
    assert PseudoHealthy("L1", spiked, healthy).anterior_rim_loss == pytest.approx(sound, abs=0.02)
    corner = own - np.where(Y < 6, 8.0, 0.0)
    assert PseudoHealthy("L1", corner, healthy).anterior_rim_loss == pytest.approx(sound + 8.0 / 26.0, abs=0.03)
    nothing = PseudoHealthy("L1", own, np.full_like(own, np.nan))
    assert np.isnan(nothing.anterior_rim_loss)


def _eroded(steps: int) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    return np.asarray(binary_erosion(INSIDE, iterations=steps))
