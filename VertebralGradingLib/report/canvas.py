"""A picture to draw on without a window: smooth lines and discs by numpy, text and PNG by VTK (no OpenGL)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG of (rows, cols) greys or (rows, cols, 3) RGB, row 0 on top."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOImage import vtkPNGWriter

    rows, columns = image.shape[:2]
    values = np.ascontiguousarray(image[::-1]).reshape(rows * columns, -1)  # VTK counts rows from below
    data = vtkImageData()
    data.SetDimensions(columns, rows, 1)
    data.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    writer = vtkPNGWriter()
    writer.SetInputData(data)
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(memoryview(writer.GetResult()))


class Canvas:
    """An RGB picture; positions are (x, y) in pixels, (0, 0) the centre of the top left one.

    Args:
        image: (rows, cols) greys or (rows, cols, 3) RGB to draw on; copied.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        self.rgb = rgb.astype(np.float32)

    def line(self, start: Any, end: Any, color: Color, width: float = 2.0, alpha: float = 1.0) -> None:
        """A straight line with round ends."""
        a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        reach = width / 2 + 1
        region, grid = self._around(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
        along = b - a
        share = np.clip(((grid - a) @ along) / max(float(along @ along), 1e-9), 0.0, 1.0)
        distance = np.linalg.norm(grid - a - share[..., None] * along, axis=-1)
        self._blend(region, color, alpha * np.clip(width / 2 + 0.5 - distance, 0.0, 1.0))

    def polyline(self, points: Any, color: Color, width: float = 2.0, closed: bool = False) -> None:
        """Straight lines from point to point."""
        for start, end in pairwise([*points, points[0]] if closed else points):
            self.line(start, end, color, width)

    def disc(self, center: Any, radius: float, color: Color) -> None:
        """A filled disc."""
        self.line(center, center, color, 2 * radius)

    def rectangle(self, low: Any, high: Any, color: Color) -> None:
        """A filled rectangle."""
        (x0, y0), (x1, y1) = np.rint(low).astype(int), np.rint(high).astype(int)
        self.rgb[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = color

    def text(
        self,
        x: float,
        y: float,
        string: str,
        size: int,
        color: Color = BLACK,
        anchor: str = "start",
        bold: bool = False,
    ) -> float:
        """A text whose baseline starts at (x, y), or ends or is centred there (``anchor`` "end", "middle").

        Returns:
            Its width (pixels).
        """
        if not string:
            return 0.0
        alpha, ascent = _glyphs(string, size, bold)
        height, width = alpha.shape
        left = round(x - {"start": 0.0, "middle": width / 2, "end": width}[anchor])
        top = round(y - ascent)
        rows, columns = self.rgb.shape[:2]
        r0, r1, c0, c1 = max(top, 0), min(top + height, rows), max(left, 0), min(left + width, columns)
        if r0 < r1 and c0 < c1:
            part = alpha[r0 - top : r1 - top, c0 - left : c1 - left]
            self._blend((slice(r0, r1), slice(c0, c1)), color, part)
        return float(width)

    def halo_text(self, x: float, y: float, string: str, size: int, anchor: str = "start") -> None:
        """White text with a dark rim."""
        for dx, dy in ((-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1), (1, -1)):
            self.text(x + dx, y + dy, string, size, BLACK, anchor, bold=True)
        self.text(x, y, string, size, WHITE, anchor, bold=True)

    def png(self) -> bytes:
        """The picture as PNG."""
        return encode_png(np.rint(np.clip(self.rgb, 0, 255)).astype(np.uint8))

    def _around(self, low: Any, high: Any) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
        rows, columns = self.rgb.shape[:2]
        x0, x1 = (int(np.clip(np.floor(v), 0, columns)) for v in (low[0], high[0] + 1))
        y0, y1 = (int(np.clip(np.floor(v), 0, rows)) for v in (low[1], high[1] + 1))
        y, x = np.mgrid[y0:y1, x0:x1]
        return (slice(y0, y1), slice(x0, x1)), np.stack([x, y], -1).astype(np.float64)

    def _blend(self, region: tuple[slice, slice], color: Color, alpha: Any) -> None:
        weight = np.asarray(alpha, dtype=np.float32)[..., None]
        self.rgb[region] += weight * (np.array(color, dtype=np.float32) - self.rgb[region])


def _glyphs(string: str, size: int, bold: bool) -> tuple[NDArray[np.float32], int]:
    """Coverage 0..1 of a text (rows, cols) and the row of its baseline."""
    alpha = _coverage(string, size, bold)
    return alpha, len(alpha) - _descent(size, bold)


@cache
def _descent(size: int, bold: bool) -> int:
    """Rows below the baseline in any text of a size; VTK leaves room for descenders that a text does not have."""
    alpha = _coverage("x", size, bold)
    return len(alpha) - 1 - int(np.flatnonzero(alpha.max(1) > 0.5).max(initial=0))


def _coverage(string: str, size: int, bold: bool) -> NDArray[np.float32]:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkRenderingCore import vtkTextProperty
    from vtkmodules.vtkRenderingFreeType import vtkFreeTypeTools

    style = vtkTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(size)
    style.SetBold(bold)
    tools = vtkFreeTypeTools.GetInstance()
    tools.SetScaleToPowerTwo(False)
    image = vtkImageData()
    if not tools.RenderString(style, string, 72, image, [0, 0]):
        return np.zeros((1, 1), dtype=np.float32)
    columns, rows, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
    return values[::-1, :, -1].astype(np.float32) / 255.0
