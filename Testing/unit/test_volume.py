"""Volumes: geometry, reading every format, and refusing with a hint what is no usable CT."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.image.io import as_labels, read_labels, read_volume, write_volume
from VertebralGradingLib.image.volume import AIR_HU, Volume, as_ct, check_hounsfield

RNG = np.random.default_rng(3)
SHAPE = (7, 8, 9)
VOXELS = RNG.integers(-1000, 2000, SHAPE).astype(np.int16)
TURN = Rotation.from_euler("xyz", [20, -15, 35], degrees=True).as_matrix()
SHEAR = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, np.sin(np.radians(-15))], [0.0, 0.0, np.cos(np.radians(15))]])


def affine_of(axes: NDArray[np.float64], spacing: tuple[float, float, float] = (0.7, 1.1, 2.5)) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = 12.5, -40.25, 300.125
    return affine


GRIDS = {
    "straight": affine_of(np.eye(3)),
    "lps": affine_of(np.diag([-1.0, -1.0, 1.0])),
    "oblique": affine_of(TURN),
    "left-handed": affine_of(TURN @ np.diag([-1.0, 1.0, 1.0])),
    "axes swapped": affine_of(np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])),
}


def write_nifti(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    nib.save(nib.Nifti1Image(voxels, affine), path)


# ---- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_nifti_has_the_voxels_and_the_world_of_nibabel(tmp_path: Path, grid: str, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    write_nifti(path, VOXELS, GRIDS[grid])
    volume = read_volume(path)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, VOXELS)
    assert np.allclose(volume.affine, nib.load(path).affine, atol=1e-4)
    assert volume.notes == ()


@pytest.mark.parametrize("grid", ["straight", "lps", "oblique", "axes swapped"])
@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
def test_itk_formats_have_the_world_of_simpleitk(tmp_path: Path, grid: str, ending: str) -> None:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ GRIDS[grid]
    image = sitk.GetImageFromArray(VOXELS.transpose(2, 1, 0))
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    path = tmp_path / f"image.{ending}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.array, VOXELS)
    for index in ((0, 0, 0), (6, 0, 3), (2, 7, 8)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose(volume.to_ras(np.array(index)), (-x, -y, z), atol=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_written_volume_reads_back(tmp_path: Path, grid: str, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    write_volume(Volume(VOXELS, GRIDS[grid]), path)
    volume = read_volume(path)
    assert np.array_equal(volume.array, VOXELS)
    assert np.allclose(volume.affine, GRIDS[grid], atol=1e-3)


def test_sheared_volume_is_not_written_wrongly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sheared"):
        write_volume(Volume(VOXELS, affine_of(SHEAR)), tmp_path / "image.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_sheared_nifti_is_refused_or_true(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    write_nifti(path, VOXELS, affine_of(SHEAR))
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.hint


def test_uncommon_types_become_hounsfield_units(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.int32, np.uint16, np.float32, np.float64):
        voxels = np.clip(VOXELS, 0, 250).astype(dtype)
        path = tmp_path / f"{np.dtype(dtype)}.nii.gz"
        write_nifti(path, voxels, GRIDS["oblique"])
        volume = read_volume(path)
        assert volume.array.dtype == np.int16
        assert np.array_equal(volume.array, voxels.astype(np.int16))


def test_trailing_time_axis_of_one_is_a_volume(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    write_nifti(path, VOXELS[..., None], GRIDS["oblique"])
    volume = read_volume(path)
    assert np.array_equal(volume.array, VOXELS)
    assert np.allclose(volume.affine, GRIDS["oblique"], atol=1e-4)


# ---- refusals -----------------------------------------------------------------------------------------------------


def test_time_series_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    write_nifti(path, np.stack([VOXELS, VOXELS], -1), GRIDS["straight"])
    with pytest.raises(InputError, match="4 dimensions") as caught:
        read_volume(path)
    assert "3-D" in caught.value.hint


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_slice_is_refused(tmp_path: Path, axis: int) -> None:
    path = tmp_path / "image.nii.gz"
    write_nifti(path, np.take(VOXELS, [0], axis=axis), GRIDS["straight"])
    with pytest.raises(InputError, match="single slice") as caught:
        read_volume(path)
    assert "series" in caught.value.hint


def test_flat_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 8), np.uint8)), str(path))
    with pytest.raises(InputError, match="dimensions"):
        read_volume(path)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_color_image_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True), str(path))
    with pytest.raises(InputError, match="channels") as caught:
        read_volume(path)
    assert "scalar" in caught.value.hint


def test_complex_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    write_nifti(path, VOXELS.astype(np.complex64), GRIDS["straight"])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.hint


@pytest.mark.parametrize("ending", ["nrrd", "mha"])  # NIfTI's library turns them into 0 before anyone sees them
def test_voxels_without_a_value_become_air_and_are_noted(tmp_path: Path, ending: str) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[1, 2, 3], voxels[2, 2, 2], voxels[0, 0, 0] = np.nan, np.inf, -np.inf
    path = tmp_path / f"image.{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels.transpose(2, 1, 0)), str(path))
    volume = read_volume(path)
    assert "nan_voxels" in volume.notes
    assert [int(volume.array[i]) for i in ((1, 2, 3), (2, 2, 2), (0, 0, 0))] == [AIR_HU] * 3
    rest = np.isfinite(voxels)
    assert np.array_equal(volume.array[rest], VOXELS[rest])


def test_nothing_but_missing_values_is_refused() -> None:
    with pytest.raises(InputError, match="no finite voxel"):
        as_ct(np.full((3, 3, 3), np.nan), np.eye(4))


def test_fractions_are_rounded_and_extremes_clipped_and_noted() -> None:
    volume = as_ct(np.array([[[0.6, -0.6], [1e6, -1e6]], [[2.4, 0.0], [0.0, 0.0]]]), np.eye(4))
    assert volume.array[:, :, :].ravel().tolist() == [1, -1, 32767, -32768, 2, 0, 0, 0]
    assert volume.notes == ("hu_clipped",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("image.nii.gz", b""),
        ("image.nii.gz", gzip.compress(b"no image", mtime=0)),
        ("image.nrrd", b"NRRD0004\ntype: short\n"),
        ("image.mha", b"ObjectType = Image\nNDims = 3\n"),
        ("image.dcm", b"\x00" * 200),
        ("image.jpeg2", b"hello"),
        ("image", b""),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_half_a_file_is_refused(tmp_path: Path, ending: str) -> None:
    """A download that was broken off must not be graded on voxels that are not there."""
    whole, path = tmp_path / f"whole.{ending}", tmp_path / f"image.{ending}"
    noise = RNG.integers(-500, 500, (30, 30, 30)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(whole))
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert caught.value.hint


def test_missing_file_and_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_volume(tmp_path / "nothing.nii.gz")
    with pytest.raises(InputError, match="no DICOM series"):
        read_volume(tmp_path)


# ---- DICOM --------------------------------------------------------------------------------------------------------


def write_series(
    folder: Path,
    positions: NDArray[np.float64],
    rows: tuple[float, float, float] = (1.0, 0.0, 0.0),
    columns: tuple[float, float, float] = (0.0, 1.0, 0.0),
    modality: str = "CT",
    names: list[str] | None = None,
    number: int = 1,
    voltages: Sequence[float] = (),
) -> str:
    """One slice at each LPS position, stored with an offset of 1024; slice n holds 100 n + 10 row + column."""
    series = generate_uid()
    kind = CTImageStorage if modality == "CT" else MRImageStorage
    frame = generate_uid()
    for n, position in enumerate(positions):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = kind
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / (names[n] if names else f"{number}_{n:03d}.dcm")
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\x00" * 128)
        data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = frame, series, frame
        data.Modality, data.SeriesNumber, data.InstanceNumber = modality, number, n + 1
        data.PatientName, data.PatientID = "Nobody", "0"
        if voltages:
            data.KVP = voltages[n % len(voltages)]
        data.ImagePositionPatient = [f"{v:.6f}" for v in position]
        data.ImageOrientationPatient = [f"{v:.9f}" for v in (*rows, *columns)]
        data.PixelSpacing, data.SliceThickness = [0.9, 0.8], 2.0  # between rows, between columns
        data.Rows, data.Columns = 6, 8
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.RescaleIntercept, data.RescaleSlope = -1024, 1
        row, column = np.meshgrid(np.arange(6), np.arange(8), indexing="ij")
        data.PixelData = (1024 + 100 * n + 10 * row + column).astype(np.uint16).tobytes()
        pydicom.dcmwrite(path, data, enforce_file_format=True)
    return str(series)


@pytest.mark.parametrize(("voltages", "told"), [((120.0,), 120.0), ((), None), ((100.0, 120.0), None), ((0.0,), None)])
def test_tube_voltage_is_told_where_all_slices_agree(
    tmp_path: Path, voltages: tuple[float, ...], told: float | None
) -> None:
    write_series(tmp_path, stack(4, (0.0, 0.0, 2.0)), voltages=voltages)
    volume = read_volume(tmp_path)
    assert volume.tube_voltage_kv == told
    assert volume.around(volume.to_ras(np.array([[3.0, 3.0, 2.0]])), 2.0).tube_voltage_kv == told


def stack(
    count: int, step: tuple[float, float, float], start: tuple[float, float, float] = (5.0, -7.0, 90.0)
) -> NDArray[np.float64]:
    return np.array(start) + np.arange(count)[:, None] * np.array(step)


def assert_series_is_true(volume: Volume, positions: NDArray[np.float64], rows: object, columns: object) -> None:
    """Every voxel's value names its slice, row and column; it must lie where the headers say (LPS)."""
    assert volume.array.dtype == np.int16
    i, j, k = np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij")
    n, rest = np.divmod(volume.array.astype(int), 100)
    row, column = np.divmod(rest, 10)
    lps = positions[n] + column[..., None] * 0.8 * np.array(rows) + row[..., None] * 0.9 * np.array(columns)
    found = volume.to_ras(np.stack([i, j, k], -1))
    assert np.allclose(found * [-1.0, -1.0, 1.0], lps, atol=1e-3)


@pytest.mark.parametrize("step", [(0.0, 0.0, 2.0), (0.0, 0.0, -2.0)])
def test_dicom_series_lies_where_its_headers_say(tmp_path: Path, step: tuple[float, float, float]) -> None:
    positions = stack(5, step)
    names = ["b", "e.dcm", "a", "d", "c.ima"]  # file names say nothing about the order
    write_series(tmp_path, positions, names=names)
    assert_series_is_true(read_volume(tmp_path), positions, (1, 0, 0), (0, 1, 0))


def test_oblique_dicom_series(tmp_path: Path) -> None:
    rows, columns, normal = (tuple(float(v) for v in axis) for axis in TURN.T)
    positions = stack(5, tuple(2.0 * v for v in normal))  # type: ignore[arg-type]
    write_series(tmp_path, positions, rows, columns)  # type: ignore[arg-type]
    assert_series_is_true(read_volume(tmp_path), positions, rows, columns)


@pytest.mark.parametrize("tilt_deg", [-22.0, 15.0])
def test_tilted_gantry_keeps_its_true_sheared_geometry(tmp_path: Path, tilt_deg: float) -> None:
    tilt = np.radians(tilt_deg)
    columns = (0.0, float(np.cos(tilt)), float(np.sin(tilt)))
    positions = stack(6, (0.0, 0.0, 3.0))  # the table moves along z, the slices are tilted
    write_series(tmp_path, positions, (1.0, 0.0, 0.0), columns)
    assert_series_is_true(read_volume(tmp_path), positions, (1, 0, 0), columns)


def test_missing_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, np.delete(stack(7, (0.0, 0.0, 2.0)), 3, axis=0))
    with pytest.raises(InputError, match=r"2\.00 to 4\.00 mm apart") as caught:
        read_volume(tmp_path)
    assert "complete series" in caught.value.hint


def test_doubled_slice_is_refused(tmp_path: Path) -> None:
    positions = stack(6, (0.0, 0.0, 2.0))
    write_series(tmp_path, np.concatenate([positions, positions[2:3]]))
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    assert caught.value.hint


def test_magnetic_resonance_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, stack(4, (0.0, 0.0, 2.0)), modality="MR")
    with pytest.raises(InputError, match="CT") as caught:
        read_volume(tmp_path)
    assert caught.value.hint
    with pytest.raises(InputError, match="CT"):
        read_volume(next(tmp_path.glob("*.dcm")))


def test_magnetic_resonance_chosen_by_its_uid_is_refused(tmp_path: Path) -> None:
    series = write_series(tmp_path, stack(4, (0.0, 0.0, 2.0)), modality="MR")
    with pytest.raises(InputError, match="MR, not CT"):
        read_volume(tmp_path, series)


def test_two_series_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    first, second = stack(4, (0.0, 0.0, 2.0)), stack(6, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    one = write_series(tmp_path, first, number=1)
    two = write_series(tmp_path, second, number=2)
    with pytest.raises(InputError, match="2 CT series") as caught:
        read_volume(tmp_path)
    assert one in caught.value.hint
    assert two in caught.value.hint
    assert read_volume(tmp_path, one).shape[2] == 4
    assert_series_is_true(read_volume(tmp_path, two), second, (1, 0, 0), (0, 1, 0))
    with pytest.raises(InputError, match="no series with that UID"):
        read_volume(tmp_path, "1.2.3")


def test_scout_and_other_modalities_beside_one_ct_are_passed_over(tmp_path: Path) -> None:
    positions = stack(5, (0.0, 0.0, 2.0))
    write_series(tmp_path, positions, number=1)
    write_series(tmp_path, stack(1, (0.0, 0.0, 2.0)), number=2)
    write_series(tmp_path, stack(4, (0.0, 0.0, 2.0)), modality="MR", number=3)
    assert_series_is_true(read_volume(tmp_path), positions, (1, 0, 0), (0, 1, 0))


def test_single_dicom_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, stack(1, (0.0, 0.0, 2.0)))
    for path in (tmp_path, next(tmp_path.glob("*.dcm"))):
        with pytest.raises(InputError, match="single slice"):
            read_volume(path)


# ---- geometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [np.eye(3), TURN, TURN @ np.diag([1.0, -1.0, 1.0]), TURN @ SHEAR])
def test_index_and_world_are_inverse(axes: NDArray[np.float64]) -> None:
    volume = Volume(VOXELS, affine_of(axes))
    index = RNG.uniform(-5, 15, (50, 3))
    assert np.abs(volume.to_index(volume.to_ras(index)) - index).max() < 1e-9
    assert np.allclose(volume.spacing, (0.7, 1.1, 2.5) * np.linalg.norm(axes, axis=0))


def test_contains_is_the_box_of_voxel_centers() -> None:
    volume = Volume(VOXELS, GRIDS["oblique"])
    index = np.array([[1e-6] * 3, [5.999, 6.999, 7.999], [3, 4, 5], [-0.01, 1, 1], [5, 6, 8.01], [3, 7.2, 3]])
    assert volume.contains(volume.to_ras(index)).tolist() == [True, True, True, False, False, False]


def test_spacing_along_an_axis_is_the_distance_of_its_voxel_planes() -> None:
    volume = Volume(VOXELS, GRIDS["oblique"])
    for axis in range(3):
        assert volume.spacing_along(volume.affine[:3, axis]) == pytest.approx(volume.spacing[axis])


@pytest.mark.parametrize("tilt_deg", [0.0, 22.0])
def test_thickness_of_tilted_slices_is_the_distance_of_their_planes(tilt_deg: float) -> None:
    """Slices 5 mm apart along the table are still thicker than 4 mm when the gantry is tilted by 22 degrees."""
    tilt = np.radians(tilt_deg)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([[0.8, 0, 0], [0, 0.8 * np.cos(tilt), 0.8 * np.sin(tilt)], [0, 0, 5.0]])
    normal = np.array([0.0, -np.sin(tilt), np.cos(tilt)])
    assert Volume(VOXELS, affine).spacing_along(normal) == pytest.approx(5.0 * np.cos(tilt), rel=0.1)


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.array([[1.0, 1.0, 0, 0], [0, 1e-3, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]),
        np.eye(3),
    ],
)
def test_degenerate_geometry_is_refused(affine: NDArray[np.float64]) -> None:
    with pytest.raises(InputError) as caught:
        Volume(VOXELS, affine)
    assert caught.value.hint


def test_same_grid_needs_shape_and_place() -> None:
    volume = Volume(VOXELS, GRIDS["oblique"])
    moved = GRIDS["oblique"].copy()
    moved[0, 3] += 1.0
    assert volume.same_grid(Volume(VOXELS.astype(np.uint8), GRIDS["oblique"]))
    assert not volume.same_grid(Volume(VOXELS, moved))
    assert not volume.same_grid(Volume(VOXELS[:-1], GRIDS["oblique"]))


# ---- labels -------------------------------------------------------------------------------------------------------


def test_labels_stored_as_floats_are_read(tmp_path: Path) -> None:
    labels = RNG.integers(0, 25, SHAPE)
    path = tmp_path / "mask.nii.gz"
    write_nifti(path, labels.astype(np.float64), GRIDS["oblique"])
    volume = read_labels(path)
    assert volume.array.dtype == np.uint8
    assert np.array_equal(volume.array, labels)
    assert as_labels(labels * 20, np.eye(4)).array.dtype == np.uint16


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.full(SHAPE, -3), "-3"),
        (np.full(SHAPE, 70000), "70000"),
        (np.full(SHAPE, 1.5), "fractional"),
        (np.zeros(SHAPE), "empty"),
        (np.full(SHAPE, np.inf), "inf"),
        (np.full(SHAPE, np.nan), "empty"),
    ],
)
def test_what_is_no_label_mask_is_refused(values: NDArray[np.float64], what: str) -> None:
    with pytest.raises(MaskError) as caught:
        as_labels(values, np.eye(4))
    assert what in caught.value.message
    assert caught.value.hint


@pytest.mark.filterwarnings("error")
def test_missing_values_in_a_mask_are_refused_or_background() -> None:
    labels = np.zeros(SHAPE)
    labels[3, 3, 3], labels[0, 0, 0] = 20.0, np.nan
    try:
        volume = as_labels(labels, np.eye(4))
    except MaskError as error:
        assert error.hint
    else:
        assert volume.array[0, 0, 0] == 0
        assert volume.array[3, 3, 3] == 20


# ---- Hounsfield units ---------------------------------------------------------------------------------------------


def tissue(shape: tuple[int, int, int] = (60, 60, 60)) -> NDArray[np.float64]:
    """Muscle with fat and a bone in the middle, 2 mm voxels."""
    values = RNG.normal(45.0, 12.0, shape)
    values[:, :12] = RNG.normal(-95.0, 12.0, values[:, :12].shape)
    values[22:38, 22:38, :] = RNG.normal(200.0, 60.0, values[22:38, 22:38, :].shape)
    return values


def as_image(values: NDArray[np.float64]) -> Volume:
    return Volume(np.rint(values).astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))


CENTER = np.array([[60.0, 60.0, 60.0]])


def test_hounsfield_units_are_accepted() -> None:
    check_hounsfield(as_image(tissue()), CENTER)


def test_lungs_around_a_thoracic_spine_are_no_sign_of_other_units() -> None:
    values = tissue()
    lung = np.ones(values.shape, dtype=bool)
    lung[20:40, 8:52] = False
    check_hounsfield(as_image(np.where(lung, RNG.normal(-850.0, 30.0, values.shape), values)), CENTER)
    lung[:] = True
    lung[28:32, 28:32] = False
    with pytest.raises(InputError, match="but air"):  # all but nothing: the centroids lie in a lung
        check_hounsfield(as_image(np.where(lung, -850.0, values)), CENTER)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda v: v + 1024.0, "offset of 1024"),
        (lambda v: np.abs(v) + 20.0, "MR or a rescaled image"),
        (lambda v: (v + 100.0) / 300.0, "normalised|normalized"),
        (lambda v: (v + 200.0) / 500.0 * 255.0, "MR or a rescaled image"),
        (lambda v: np.full_like(v, -1000.0) + v / 50.0, "grey values|HU values"),
        (lambda v: np.where(v > 100, 2000.0, -1000.0), "HU values|but air"),
        (lambda v: v * 100.0, "HU values"),
    ],
)
def test_other_grey_values_are_refused(change: object, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        check_hounsfield(as_image(change(tissue())), CENTER)  # type: ignore[operator]
    assert "Hounsfield" in caught.value.hint
