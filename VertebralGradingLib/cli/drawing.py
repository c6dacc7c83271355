"""Commands that show one vertebra: at another grade, and where it lost height."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from VertebralGradingLib.cli.console import OUT
from VertebralGradingLib.cli.options import Bodies, Centroids, Ct, Level, Lowest, Mask, MaybeCt, Numbering


class By(str, Enum):
    """What draws a vertebra at another grade."""

    dae = "dae"
    warp = "warp"


def counterfactual(
    ct: Ct,
    level: Level,
    centroids: Centroids = None,
    by: Annotated[
        By, typer.Option("--by", help="dae (the diffusion autoencoder draws it), warp (its own picture, no network).")
    ] = By.dae,
    grade: Annotated[
        list[float] | None, typer.Option("--grade", min=0.0, max=3.0, help="Wanted grade; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures and numbers.")] = Path(
        "counterfactual-output"
    ),
    shape: Annotated[str, typer.Option("--shape", help="Of the warp: own, wedge, biconcave, crush.")] = "own",
    mask: Mask = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Of the autoencoder: paper (slow), fine, live (quick).")
    ] = "fine",
    binary: Annotated[
        bool, typer.Option("--binary", help="As far on the other side between healthy and fractured, no grade.")
    ] = False,
    lowest: Lowest = None,
    numbering: Numbering = "auto",
    bodies: Bodies = None,
) -> None:
    """Show what a vertebra would look like at another grade: drawn by a network, or its own CT warped."""
    wanted = tuple(grade or (0.0, 1.0, 2.0, 3.0))
    if by is By.warp:
        if binary or preset != "fine":
            raise typer.BadParameter("--binary and --preset belong to --by dae")
        _warp(ct, centroids, level, wanted, out, shape, mask, lowest, numbering, bodies)
        return
    if mask is not None or shape != "own" or bodies is not None or numbering != "auto":
        raise typer.BadParameter("--mask, --shape, --bodies and --numbering belong to --by warp")
    if centroids is None:
        raise typer.BadParameter("--by dae needs --centroids")
    from VertebralGradingLib.files import counterfactual_files

    seen = counterfactual_files(ct, centroids, level, wanted, out, preset, lowest, binary)
    OUT.print(f"{level}: score {seen['score']:.2f}; decoded unchanged with PSNR {seen['psnr_db']:.1f} dB")
    for asked, reached, warnings in zip(seen["wanted"], seen["reached"], seen["warnings"], strict=True):
        note = f"; {', '.join(warnings)}" if warnings else ""
        OUT.print(f"  grade {asked:.1f} wanted, {reached:.2f} by its image{note}")
    OUT.print(f"Images are in {escape(str(out))}")


def _warp(
    ct: Path,
    centroids: Path | None,
    level: str,
    wanted: tuple[float, ...],
    out: Path,
    shape: str,
    mask: Path | None,
    lowest: str | None,
    numbering: str,
    bodies: str | None,
) -> None:
    from VertebralGradingLib.files import warp_files

    def three(values: dict[str, float]) -> str:
        return " / ".join(f"{value:.1f}" for value in values.values())

    seen = warp_files(ct, centroids, level, wanted, out, shape, mask, lowest, numbering, bodies)
    OUT.print(f"{level}: {three(seen['heights_mm'])} mm (anterior / middle / posterior)")
    OUT.print(f"before any fracture, as far as can be told: {three(seen['healthy_mm'])} mm")
    for n, asked in enumerate(seen["wanted"]):
        why = "; ".join(seen["reasons"][n])
        note = f"; no convincing picture: {why}" if why else ""
        OUT.print(f"  grade {asked:g}: {three(seen['reached_mm'][n])} mm, least Jacobian "
                  f"{seen['least_jacobian'][n]:.2f}{note}")  # fmt: skip
    OUT.print(f"Strip, numbers and warped CTs are in {escape(str(out))}")


def height_loss(
    ct: MaybeCt = None,
    centroids: Centroids = None,
    level: Level = "L1",
    mask: Mask = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for map, numbers and volumes.")] = Path(
        "height-loss-output"
    ),
    method: Annotated[
        str, typer.Option("--method", help="healthivert (a network draws it), neighbours (their shape).")
    ] = "healthivert",
    lowest: Lowest = None,
    numbering: Numbering = "auto",
    bodies: Bodies = None,
) -> None:
    """Show where a vertebra lost height, against a pseudo-healthy one or the shape of its sound neighbours."""
    from VertebralGradingLib.files import height_loss_files

    seen = height_loss_files(ct, centroids, level, out, mask, method, lowest, numbering, bodies)
    thirds = ", ".join(f"{name} {round(100 * value)} %" for name, value in seen["thirds"].items() if value is not None)
    OUT.print(f"{level}: {thirds}; whole {round(100 * seen['whole'])} %")
    OUT.print(f"Map, numbers and volumes are in {escape(str(out))}")
