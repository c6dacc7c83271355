"""Draw the extension's icon: a lateral spine whose middle body is wedged and wears the color of its grade.

Run without arguments, it writes the two copies of the PNG that the repository holds: the extension's icon at the top
and the module's icon in ``VertebralGrading/Resources/Icons``. Anterior is left, as radiologists look at it.
"""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
TARGETS = (
    ROOT / "VertebralGrading.png",
    ROOT / "VertebralGrading" / "Resources" / "Icons" / "VertebralGrading.png",
)

SIZE = 128
OVERSAMPLING = 6

Image = NDArray[np.float64]
Color = tuple[int, int, int]

# Blue and orange of Okabe and Ito (Color Universal Design, 2008) stay apart for every kind of color vision.
BACKGROUND_TOP: Color = (34, 50, 74)
BACKGROUND_BOTTOM: Color = (14, 22, 36)
BONE: Color = (236, 230, 216)
BONE_SHADE: Color = (190, 186, 178)
FRACTURED: Color = (243, 160, 20)
FRACTURED_SHADE: Color = (213, 110, 0)
PROCESS: Color = (134, 153, 178)
PROCESS_SHADE: Color = (84, 103, 130)
DISC: Color = (58, 108, 158)


@dataclass(frozen=True)
class Body:
    """A vertebral body seen from the side, in pixels (x right, y down).

    Attributes:
        center: center of the body.
        tilt_degrees: positive turns the anterior side down.
        depth: distance from the anterior to the posterior wall.
        anterior: height of the anterior wall.
        posterior: height of the posterior wall.
    """

    center: tuple[float, float]
    tilt_degrees: float
    depth: float
    anterior: float
    posterior: float

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn and move points from the body's own axes (origin at its center) to the picture."""
        angle = -np.radians(self.tilt_degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return points @ turn + np.asarray(self.center)

    def outline(self, inset: float) -> NDArray[np.float64]:
        """The body's contour, shape (n, 2), ``inset`` smaller on each side; the four sides are slightly concave."""
        half = self.depth / 2 - inset
        anterior, posterior = self.anterior / 2 - inset, self.posterior / 2 - inset
        corners = np.array([[-half, -anterior], [half, -posterior], [half, posterior], [-half, anterior]])
        endplate, wall = 0.022 * self.depth, 0.032 * self.depth
        inward = np.array([[0.0, endplate], [-wall, 0.0], [0.0, -endplate], [wall * anterior / posterior, 0.0]])
        s = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
        sides = []
        for index in range(4):
            start, end = corners[index], corners[(index + 1) % 4]
            sides.append(start + s * (end - start) + 4 * s * (1 - s) * inward[index])
        return self.place(np.concatenate(sides))


UPPER = Body(center=(45.0, 30.0), tilt_degrees=9.0, depth=56.0, anterior=29.0, posterior=30.5)
MIDDLE = Body(center=(53.0, 64.0), tilt_degrees=0.0, depth=58.0, anterior=12.5, posterior=28.5)
LOWER = Body(center=(46.0, 98.5), tilt_degrees=-9.0, depth=60.0, anterior=30.0, posterior=31.5)
CORNER_RADIUS = 3.4


def grid() -> tuple[Image, Image]:
    """Sample positions x and y, each of shape (SIZE * OVERSAMPLING,) * 2, in pixels."""
    axis = (np.arange(SIZE * OVERSAMPLING) + 0.5) / OVERSAMPLING
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


def polygon_distance(x: Image, y: Image, outline: NDArray[np.float64]) -> Image:
    """Signed distance to a closed polygon (pixels), negative inside."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * dx, y - y0 - along * dy))
        if dy != 0:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < x0 + (y - y0) * dx / dy)
    return np.where(inside, -nearest, nearest)


def stroke_distance(
    x: Image, y: Image, start: NDArray[np.float64], end: NDArray[np.float64], radii: tuple[float, float]
) -> Image:
    """Distance to a line with round ends whose radius changes from start to end (pixels), negative inside."""
    delta = end - start
    along = np.clip(((x - start[0]) * delta[0] + (y - start[1]) * delta[1]) / (delta @ delta), 0.0, 1.0)
    radius = radii[0] + along * (radii[1] - radii[0])
    return np.hypot(x - start[0] - along * delta[0], y - start[1] - along * delta[1]) - radius


def rounded_square_distance(x: Image, y: Image, margin: float, radius: float) -> Image:
    """Signed distance to a rounded square that leaves ``margin`` on each side (pixels), negative inside."""
    half = SIZE / 2 - margin - radius
    qx, qy = np.abs(x - SIZE / 2) - half, np.abs(y - SIZE / 2) - half
    return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - radius


def blend(picture: Image, where: NDArray[np.bool_], first: Color, second: Color, weight: Image) -> None:
    """Paint ``where`` with a mixture of two colors; ``weight`` 0 gives the first, 1 the second."""
    share = np.clip(weight, 0.0, 1.0)[where][:, None]
    picture[where] = (1 - share) * np.asarray(first, dtype=float) + share * np.asarray(second, dtype=float)


def draw() -> NDArray[np.uint8]:
    """The icon as RGBA, shape (SIZE, SIZE, 4)."""
    x, y = grid()
    color = np.zeros((*x.shape, 3))
    plate = rounded_square_distance(x, y, margin=2.0, radius=26.0) < 0
    blend(color, plate, BACKGROUND_TOP, BACKGROUND_BOTTOM, y / SIZE)

    for body in (UPPER, MIDDLE, LOWER):
        reach = body.depth / 2
        pedicle, joint, tip = body.place(np.array([[reach - 5.0, -6.0], [reach + 10.0, -4.5], [reach + 26.0, 7.0]]))
        arch = np.minimum(
            stroke_distance(x, y, pedicle, joint, (3.0, 4.6)),
            stroke_distance(x, y, joint, tip, (4.6, 4.0)),
        )
        blend(color, plate & (arch < 0), PROCESS, PROCESS_SHADE, (x - pedicle[0]) / (tip[0] - pedicle[0]))

    for upper, lower in ((UPPER, MIDDLE), (MIDDLE, LOWER)):
        above, below = upper.depth * 0.42, lower.depth * 0.42
        top = upper.place(np.array([[-above, 0.5 * upper.anterior - 3], [above, 0.5 * upper.posterior - 3]]))
        bottom = lower.place(np.array([[below, 3 - 0.5 * lower.posterior], [-below, 3 - 0.5 * lower.anterior]]))
        disc = polygon_distance(x, y, np.concatenate([top, bottom])) - 1.5
        blend(color, plate & (disc < 0), DISC, DISC, y)

    for body in (UPPER, MIDDLE, LOWER):
        shape = polygon_distance(x, y, body.outline(CORNER_RADIUS)) - CORNER_RADIUS
        light, shade = (FRACTURED, FRACTURED_SHADE) if body is MIDDLE else (BONE, BONE_SHADE)
        blend(color, plate & (shape < 0), light, shade, 0.5 + (y - body.center[1]) / body.posterior)

    rgba = np.dstack([color, np.where(plate, 255.0, 0.0)])
    rgba[..., :3] *= plate[..., None]
    blocks = rgba.reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING, 4).mean(axis=(1, 3))
    alpha = blocks[..., 3:]
    blocks[..., :3] = np.divide(255.0 * blocks[..., :3], alpha, out=np.zeros_like(blocks[..., :3]), where=alpha > 0)
    return np.round(blocks).astype(np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode RGBA of shape (rows, columns, 4) as a PNG file (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns, _ = picture.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in picture)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines, 9)), chunk(b"IEND", b"")]
    )


def main() -> int:
    """Write the icon to every place that needs it."""
    data = png(draw())
    for target in TARGETS:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        print(f"{target.relative_to(ROOT).as_posix()}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
