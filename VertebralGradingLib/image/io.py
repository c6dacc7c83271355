"""Reading volumes from NIfTI, NRRD, MetaImage and DICOM series through SimpleITK, and writing NIfTI."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.image.volume import Volume, as_ct, ras_affine

_HINT = "Supported: NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha, .mhd), or a folder with one DICOM CT series."
_MAX_SLICE_JITTER = 0.1
_TRAILING_BYTES = 1 << 20
_KVP = "0018|0060"
"""DICOM's tag of the tube voltage."""


def read_volume(path: str | Path, series: str | None = None) -> Volume:
    """Read a CT as int16 HU.

    Voxels without a value become air and are noted, except in NIfTI, whose library turns them into 0 unseen.

    Args:
        path: image file, or a folder with DICOM files.
        series: DICOM SeriesInstanceUID, needed when a folder holds several CT series.

    Raises:
        InputError: missing, unreadable, not 3-D, not CT, or slices at uneven distances.
    """
    image, affine = _read_image(Path(path), series)
    array = _array_view(image)
    return replace(as_ct(array, affine, keep=image), tube_voltage_kv=_tube_voltage(image))


def read_labels(path: str | Path) -> Volume:
    """Read a label mask as uint8 or uint16 (VerSe stores some as float64).

    Raises:
        MaskError: not whole, non-negative numbers.
        InputError: missing or unreadable file.
    """
    image, affine = _read_image(Path(path), None)
    return as_labels(_array_view(image), affine)


def as_labels(array: NDArray[Any], affine: NDArray[Any]) -> Volume:
    """Make a label volume from voxels (ni, nj, nk) of any type.

    Raises:
        MaskError: values are negative, fractional, or above 65535.
    """
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        array = np.where(np.isnan(array), 0, array)  # a voxel without a value belongs to nothing
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > np.iinfo(np.uint16).max or not np.isfinite(high):
        raise MaskError(f"The mask's values run from {low:g} to {high:g}.", "Choose a label mask, not an image.")
    labels = array.astype(np.uint8 if high < 256 else np.uint16)
    if np.issubdtype(array.dtype, np.floating) and np.abs(labels - array).max() > 1e-3:
        raise MaskError("The mask has fractional values.", "Choose a label mask that was resampled without smoothing.")
    if high == 0:
        raise MaskError("The mask is empty.", "Choose a mask with labelled vertebrae.")
    return Volume(labels, np.asarray(affine, dtype=np.float64))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume; the file's ending chooses the format. Affines that ITK cannot hold are refused.

    Raises:
        InputError: the affine is sheared.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    direction = lps[:3, :3] / volume.spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise InputError("A sheared volume cannot be written.", "Resample it to a rectangular grid first.")
    image.SetSpacing(volume.spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path), True)


def _tube_voltage(header: Any) -> float | None:
    """Peak tube voltage (kVp) by a DICOM header, None where there is none or it is no positive number."""
    try:
        value = float(header.GetMetaData(_KVP)) if header.HasMetaDataKey(_KVP) else 0.0
    except ValueError:
        return None
    return value if 0.0 < value < math.inf else None


def _array_view(image: Any) -> NDArray[Any]:
    """(i, j, k) view of a SimpleITK image's voxels; the image must outlive it."""
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)


def _read_image(path: Path, series: str | None) -> tuple[Any, NDArray[np.float64]]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    if not path.exists():
        raise InputError("The image file does not exist.", "Check the path.")
    if path.is_dir():
        return _read_dicom_series(path, series)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti_complete(path)
    try:
        reader.ReadImageInformation()
        _check_header(reader)
        reader.SetOutputPixelType(sitk.sitkUnknown)
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"The image cannot be read: {_reason(error)}.", _HINT) from error
    return image, ras_affine(image)


def _check_header(reader: Any) -> None:
    size = list(reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) != 3:
        raise InputError(f"The image has {len(size)} dimensions instead of 3.", "Save one time point as a 3-D volume.")
    if len(reader.GetSize()) > 3:
        reader.SetExtractSize([*size, *([0] * (len(reader.GetSize()) - 3))])
    if reader.GetNumberOfComponents() != 1:
        raise InputError("The image has several channels.", "Choose a scalar CT volume.")
    if min(size) < 2:
        raise InputError("The image is a single slice.", "Load the whole CT series: heights need a volume.")
    _check_modality(reader)


def _check_nifti_complete(path: Path) -> None:
    """Refuse a NIfTI file that was cut off: its library would silently fill the missing voxels.

    Raises:
        InputError: the file holds fewer bytes than its header says.
    """
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path, "rb") as file:
                header = file.read(352)
            with path.open("rb") as raw:
                raw.seek(-4, 2)
                present = struct.unpack("<I", raw.read(4))[0]  # length of the content, modulo 2**32
        else:
            with path.open("rb") as raw:
                header = raw.read(352)
            present = path.stat().st_size
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError("The image file is damaged or cut off.", "Copy or download it again.") from error
    if len(header) < 348 or 348 not in (struct.unpack(order + "i", header[:4])[0] for order in "<>"):
        return  # NIfTI-2, or no NIfTI at all: the reader says so
    order = "<" if struct.unpack("<i", header[:4])[0] == 348 else ">"
    dims = struct.unpack(order + "8h", header[40:56])
    bits = struct.unpack(order + "h", header[72:74])[0]
    offset = struct.unpack(order + "f", header[108:112])[0]
    count = math.prod(max(size, 1) for size in dims[1 : 1 + max(dims[0], 0)])
    expected = int(offset) + count * bits // 8
    if path.name.lower().endswith(".gz") and (present - expected) % (1 << 32) > _TRAILING_BYTES:
        present = _unpacked_length(path)  # cut off, or packed in several pieces of which the last was read
    if present < expected % (1 << 32) or (present < expected and not path.name.lower().endswith(".gz")):
        raise InputError("The image file is cut off.", "Copy or download it again.")


def _unpacked_length(path: Path) -> int:
    """Bytes that a .gz file really unpacks to."""
    total = 0
    try:
        with gzip.open(path, "rb") as file:
            while piece := file.read(1 << 22):
                total += len(piece)
    except (OSError, EOFError, zlib.error):
        return 0
    return total


def _check_modality(reader: Any) -> None:
    if not reader.HasMetaDataKey("0008|0060"):
        return
    modality = reader.GetMetaData("0008|0060").strip()
    if modality and modality != "CT":
        raise InputError(f"The DICOM modality is {modality}, not CT.", "Choose a CT series.")


def _reason(error: RuntimeError) -> str:
    text = str(error)
    if "orthonormal" in text or "Bad direction" in text:
        return "its axes are sheared, resample it to a rectangular grid"
    if "Unable to determine ImageIO reader" in text or "does not exist" in text:
        return "the format is not known or the file is damaged"
    return "the file is damaged or not an image"


def _read_dicom_series(folder: Path, series: str | None) -> tuple[Any, NDArray[np.float64]]:
    import SimpleITK as sitk

    available = list(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    if not available:
        raise InputError("The folder holds no DICOM series.", _HINT)
    if series is not None and series not in available:
        raise InputError("The folder has no series with that UID.", "Leave --series out to see what there is.")
    chosen = series or _only_ct_series(folder, available)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), chosen)
    positions, voltages = [], set()
    for name in names:
        header = sitk.ImageFileReader()
        header.SetFileName(name)
        header.ReadImageInformation()
        _check_modality(header)
        positions.append(header.GetOrigin())
        voltages.add(_tube_voltage(header))
    if len(names) < 2:
        raise InputError("The series has a single slice.", "Load the whole CT series: heights need a volume.")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"The DICOM series cannot be read: {_reason(error)}.", _HINT) from error
    if len(voltages) == 1 and None not in voltages:
        image.SetMetaData(_KVP, str(voltages.pop()))
    return image, _series_affine(image, np.array(positions))


def _only_ct_series(folder: Path, available: list[str]) -> str:
    import SimpleITK as sitk

    found = {}
    for uid in available:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        reader = sitk.ImageFileReader()
        reader.SetFileName(names[0])
        reader.ReadImageInformation()
        if not reader.HasMetaDataKey("0008|0060") or reader.GetMetaData("0008|0060").strip() == "CT":
            found[uid] = len(names)
    if not found:
        raise InputError("The folder holds no CT series.", "Choose a CT series.")
    volumes = {uid: count for uid, count in found.items() if count > 1}
    if len(volumes) > 1:
        listing = ", ".join(f"{uid} ({count} slices)" for uid, count in volumes.items())
        raise InputError(f"The folder holds {len(volumes)} CT series.", f"Choose one with --series: {listing}.")
    return next(iter(volumes or found))


def _series_affine(image: Any, positions_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Affine of a series from its slice positions, so that a tilted gantry gives its true, sheared geometry."""
    affine = ras_affine(image)
    steps = np.diff(positions_lps, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    mean = float(lengths.mean())
    if mean < 1e-3 or np.abs(lengths - mean).max() > max(_MAX_SLICE_JITTER, 0.05 * mean):
        raise InputError(
            f"The slices lie {lengths.min():.2f} to {lengths.max():.2f} mm apart.",
            "Slices are missing or doubled, or two acquisitions are mixed: export one complete series.",
        )
    step = (positions_lps[-1] - positions_lps[0]) / (len(positions_lps) - 1)
    affine[:3, 2] = step * np.array([-1.0, -1.0, 1.0])
    return affine
