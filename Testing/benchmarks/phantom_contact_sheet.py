"""A picture of phantoms beside real CTs, in the same planes and the same window, to be looked at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from VertebralGradingLib.phantom.parameters import SpineParameters

CASES = {
    "totalseg-example": ("example_ct.nii.gz", "example_bodies.mrk.json"),
    "totalseg-aorta": ("ct_cropped.nii.gz", "ct_cropped_bodies.mrk.json"),
    "tptbox-l3": ("sub-ct_label-22_ct.nii.gz", "sub-ct_bodies.mrk.json"),
    "lidc-0314": ("LIDC-IDRI-0314_spine_crop_ct.nii.gz", "LIDC-IDRI-0314_bodies.mrk.json"),
}
EDGE = 128
"""Edge of every picture (mm)."""
WINDOW_HU = (-250.0, 550.0)
Tile = tuple[str, NDArray[np.float32], NDArray[np.float32]]
"""Caption, sagittal and axial picture."""


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("contact_sheet.png"))
    parser.add_argument("--seed", type=int, default=7000)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--columns", type=int, default=6, help="pairs of pictures in a row")
    args = parser.parse_args()
    tiles = real_tiles(args.data) if args.data.is_dir() else []
    if not tiles:
        print("no real CT found; phantoms alone")
    tiles += [phantom_tile(args.seed, n) for n in range(args.count)]
    draw(tiles, args.columns, args.out)
    print(f"{args.out}: {len(tiles)} pairs")


def real_tiles(data: Path) -> list[Tile]:
    """Up to three vertebrae of each real CT."""
    from VertebralGradingLib.image.io import read_volume
    from VertebralGradingLib.image.sampling import sample
    from VertebralGradingLib.spine.points import read_points
    from VertebralGradingLib.spine.reformation import rigid_grid
    from VertebralGradingLib.spine.spine import build_spine

    out = []
    for case, (ct_name, points_name) in CASES.items():
        if not (data / case / ct_name).exists():
            continue
        ct, spine = read_volume(data / case / ct_name), build_spine(read_points(data / case / points_name))
        count = len(spine.vertebrae)
        for n in sorted({count // 6, count // 2, count - 1 - count // 6}):
            vertebra = spine.vertebrae[n]
            axes = spine.axes(vertebra)
            sagittal = rigid_grid(vertebra.center, axes, (EDGE, EDGE, 1), 1.0)
            level = rigid_grid(vertebra.center, axes, (1, EDGE, EDGE), 1.0)
            out.append((f"REAL {case} {vertebra.level}", sample(ct, sagittal.points())[:, :, 0],
                        sample(ct, level.points())[0]))  # fmt: skip
    return out


def phantom_tile(seed: int, n: int) -> Tile:
    """One phantom; every third is fractured, every fourth has many mimics, every sixth thick slices."""
    import torch

    from VertebralGradingLib.phantom.draw import draw_spine
    from VertebralGradingLib.phantom.field import Field
    from VertebralGradingLib.phantom.imaging import draw_scanner
    from VertebralGradingLib.phantom.mimics import add_mimics
    from VertebralGradingLib.phantom.patches import pose, scan

    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, n])
    spine, found = add_mimics(draw_spine(seed + n), seed + n, 4.0 if n % 4 == 2 else 1.0)
    levels = [level for level in spine.levels if level[0] in "TL"]
    named = [level for level in levels if level in found] if n % 4 == 2 else levels
    level = str(rng.choice(named or levels))
    caption = f"{seed + n} {level}"
    if n % 3 == 1:
        spine, loss = _broken(spine, level, rng)
        caption += f" loss {loss:.0%}"
    scanner = draw_scanner(seed + n, thick=1.0 if n % 6 == 5 else 0.2)
    caption += f" {scanner.slice_mm:.1f} mm {' '.join(found.get(level, []))}"
    field = Field([spine])
    where = pose(spine, field.frame(level), level, seed + n, shape=(EDGE, EDGE, 1))
    sagittal = scan(field, [where], [scanner])[0][0, :, :, 0].numpy()
    # a plane across the body needs rows around it, for the scanner's slices run across rows
    block = pose(spine, field.frame(level), level, seed + n, shape=(11, EDGE, EDGE))
    across = scan(field, [block], [scanner])[0][0, 5].numpy()
    return caption, sagittal, across


def _broken(spine: SpineParameters, level: str, rng: np.random.Generator) -> tuple[SpineParameters, float]:
    """Break a vertebra by 20 to 50 %; shapes that cannot reach their loss are drawn again.

    Raises:
        ValueError: no shape fits.
    """
    from VertebralGradingLib.phantom.fracture import fracture

    for _ in range(8):
        loss = float(rng.uniform(0.2, 0.5))
        try:
            return fracture(spine, level, loss, int(rng.integers(1 << 31))), loss
        except ValueError as error:
            print(f"{level}: {error}")
    raise ValueError(f"no fracture fits {level}")


def draw(tiles: list[Tile], columns: int, out: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = -(-len(tiles) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(2 * columns * 2.0, rows * 2.15), facecolor="black",
                                squeeze=False)  # fmt: skip
    for axis in axes.flat:
        axis.axis("off")
    for n, (caption, sagittal, across) in enumerate(tiles):
        row, column = divmod(n, columns)
        for axis, picture in zip(axes[row, 2 * column : 2 * column + 2], (sagittal, across), strict=True):
            axis.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear")
        axes[row, 2 * column].set_title(caption[:44], color="white", fontsize=6, loc="left", pad=2)
    figure.subplots_adjust(0.002, 0.002, 0.998, 0.985, 0.02, 0.08)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110, facecolor="black")
    plt.close(figure)


if __name__ == "__main__":
    main()
