"""Some of the points at hand: on a CPU they are picked out, on accelerators all are evaluated and a mask chooses."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.columns import index

TAIL = 4.6
"""Beyond so many standard deviations from an edge, its blur adds less than 0.01 HU."""


class Some:
    """Points that a mask shows.

    Args:
        mask: bool; (N,), or of any shape where ``dense``.
        dense: whether to evaluate everywhere nevertheless.
    """

    __slots__ = ("index", "mask")

    def __init__(self, mask: Tensor, dense: bool) -> None:
        self.mask = mask
        self.index = None if dense else mask.nonzero()[:, 0]

    def none(self) -> bool:
        """Whether it is known that there are none; never known where all are evaluated."""
        return self.index is not None and len(self.index) == 0

    def of(self, *values: Tensor) -> list[Tensor]:
        """Values at these points."""
        return list(values) if self.index is None else [value.index_select(0, self.index) for value in values]

    def at(self, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for coordinates."""
        first, second, third = self.of(u, v, w)
        return first, second, third

    def columns(self, p: Any) -> Any:
        """Columns that go with these points."""
        return p.at(self.index) if isinstance(p, Rows) and self.index is not None else p

    def column(self, value: Tensor) -> Tensor:
        """The same for one column."""
        return value if self.index is None or value.dim() == 0 else value.index_select(0, self.index)

    def of_all(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same for values by name."""
        return dict(zip(values, self.of(*values.values()), strict=True))

    def within(self, other: Some) -> Some:
        """These points among those of ``other``, as points of the whole."""
        both = copy(self)
        if self.index is None or other.index is None:
            both.mask = self.mask & other.mask
        else:
            both.mask, both.index = other.mask, other.index.index_select(0, self.index)
        return both

    def full(self, value: Tensor, fill: float) -> Tensor:
        """Values at these points, ``fill`` at all others."""
        if self.index is None:
            return torch.where(self.mask, value, fill)
        out = torch.full(self.mask.shape, fill, dtype=value.dtype, device=value.device)
        return out.index_copy_(0, self.index, value)


class Rows:
    """Columns of a table by attribute, one row of it for each of many points.

    Args:
        table: (C, R) columns.
        rows: (N,) which row each point has.
    """

    def __init__(self, table: Tensor, rows: Tensor) -> None:
        self._table, self._rows = table, rows

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self._table[index(name)].index_select(0, self._rows)
        setattr(self, name, value)
        return value

    def at(self, chosen: Tensor) -> Rows:
        """The same for some of the points."""
        return Rows(self._table, self._rows.index_select(0, chosen))


def above_of(a: Tensor, b: Tensor | float) -> Tensor:
    """1.0 where ``a`` > ``b``, 0.0 elsewhere: faster than a mask and :func:`torch.where`."""
    return (a - b).sign_().clamp_min_(0.0)
