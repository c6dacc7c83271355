"""Tell whether the system libraries are there that Slicer's renderer and Qt need; exit 1 and name them where not."""

from __future__ import annotations

import ctypes
import sys

NEEDED = (
    "libEGL.so.1",
    "libGL.so.1",
    "libX11.so.6",
    "libgthread-2.0.so.0",
    "libxkbcommon.so.0",
    "libfontconfig.so.1",
    "libdbus-1.so.3",
)


def missing() -> list[str]:
    """Names of the libraries that cannot be loaded."""
    lost = []
    for name in NEEDED:
        try:
            ctypes.CDLL(name)
        except OSError:
            lost.append(name)
    return lost


if __name__ == "__main__":
    if sys.platform == "linux" and (names := missing()):
        print(f"Missing system libraries: {', '.join(names)}.", file=sys.stderr)
        sys.exit(1)
