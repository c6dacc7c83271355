"""Numbers and containers as JSON has them."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Numbers rounded to 5 decimals (chances of 4,000 draws still sum to 1 then), tuples as lists, NaN as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    number = round(float(value), 5)
    return number if math.isfinite(number) else None
