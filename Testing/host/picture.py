"""Pictures off screen: bytes, and where a point of the patient or of a chart lies in them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy


@dataclass(frozen=True)
class Picture:
    """What a view showed.

    Attributes:
        image: RGB bytes of shape (height, width, 3), first row on top.
        to_pixel: Matrix (4, 4) from homogeneous RAS mm to homogeneous (column, row, depth); whole numbers are the
            centers of pixels.
    """

    image: np.ndarray
    to_pixel: np.ndarray

    def project(self, points: Any) -> np.ndarray:
        """Return (column, row) of RAS points, shape (..., 2); in slices, of their feet on the slice plane."""
        points = np.asarray(points, dtype=float)
        homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ self.to_pixel.T
        return homogeneous[..., :2] / homogeneous[..., 3:]

    def color_at(self, point: Any, radius: int = 0) -> np.ndarray:
        """Return the median RGB (0-255) of the pixels within ``radius`` of a point; refuse points off the picture."""
        column, row = np.rint(self.project(point)).astype(int)
        height, width = self.image.shape[:2]
        if not (radius <= column < width - radius and radius <= row < height - radius):
            raise ValueError(f"the point lies outside the picture: column {column}, row {row}")
        patch = self.image[row - radius : row + radius + 1, column - radius : column + radius + 1]
        return np.median(patch.reshape(-1, 3), axis=0)

    def save(self, path: Path) -> None:
        """Write the picture as PNG."""
        save_png(self.image, path)


def save_png(image: np.ndarray, path: Path) -> None:
    """Write RGB bytes of shape (height, width, 3) as PNG."""
    height, width = image.shape[:2]
    data = vtk.vtkImageData()
    data.SetDimensions(width, height, 1)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    vtk_to_numpy(data.GetPointData().GetScalars())[:] = image[::-1].reshape(-1, 3)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.Write()
    if writer.GetErrorCode():
        raise OSError(
            f"the picture could not be written: {vtk.vtkErrorCode.GetStringFromErrorCode(writer.GetErrorCode())}"
        )


def render_window() -> Any:
    """Return a window that draws off screen; refuse when there is no OpenGL, instead of drawing nothing."""
    wanted = None
    if sys.platform == "linux":  # not X, so that a DISPLAY changes nothing
        wanted = os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    if (wanted is not None and window.GetClassName() != wanted) or not window.SupportsOpenGL():
        raise RuntimeError(
            "VTK finds no OpenGL. On Debian: apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri"
        )
    return window


def grab(window: Any) -> np.ndarray:
    """Render and return the window's RGB bytes, first row on top."""
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.SetInputBufferTypeToRGB()
    grabber.ReadFrontBufferOff()
    grabber.Update()
    data = grabber.GetOutput()
    width, height, _ = data.GetDimensions()
    return vtk_to_numpy(data.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()


def matrix(matrix: Any) -> np.ndarray:
    """Return a vtkMatrix4x4 as an array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
