"""Maps of lost height: colours, picture, sentence, page, files from the command line, and how they travel."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from VertebralGradingLib.backend.protocol import decode, encode, explanation_message, read_explanation
from VertebralGradingLib.cli import app
from VertebralGradingLib.demo import write_demo_case
from VertebralGradingLib.errors import InputError, MethodError, VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.image.io import read_volume
from VertebralGradingLib.report.colors import TOP_LOSS, colors_of_loss, colors_of_movement
from VertebralGradingLib.report.drawn import Drawn, figures
from VertebralGradingLib.report.height_loss import height_loss_png, height_loss_sentence
from VertebralGradingLib.report.html import html_page


def answer(network: bool = False) -> dict[str, Any]:
    """An ellipse that lost 40 % in front and nothing behind."""
    y, z = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 40), indexing="ij")
    loss = np.where(y**2 + z**2 < 1, 0.2 * (1 - y), np.nan)
    thirds = {"anterior": 0.33, "middle": 0.2, "posterior": 0.07}
    expected = np.where(np.isfinite(loss), 25.0, np.nan)
    uncertain = np.isfinite(loss) & (np.abs(y) < 0.1) & (z > 0.8)
    out: dict[str, Any] = {"loss": loss, "thirds": thirds, "whole": 0.2, "reference": "neighbours"}
    out |= {"anterior_rim": 0.38, "uncertain": uncertain, "own_mm": expected * (1 - loss), "expected_mm": expected}
    out |= {"sides": {"right": 0.2, "central": 0.2, "left": float("nan")}, "reference_levels": ["T12", "L2"]}
    if network:
        body = np.zeros((96, 96, 60), dtype=bool)
        body[36:60, 30:66, 10:50] = True
        volume = np.where(body, 300, 40).astype(np.int16)
        out |= {"reference": "network", "as_coded": thirds, "original": volume, "pseudo_healthy": volume, "body": body}
        out["pseudo_healthy_body"] = body
    return out


def pixels(png: bytes, folder: Path) -> np.ndarray:
    (folder / "map.png").write_bytes(png)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "map.png")))


def test_colors_are_fixed_from_white_to_vermilion() -> None:
    share = np.linspace(0.0, TOP_LOSS, 200)
    light = colors_of_loss(share).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) < 0.6).all() and light[0] > 254.9 and light[-1] < 120
    assert colors_of_loss(np.array([0.0, TOP_LOSS])).tolist() == [[255, 255, 255], [213, 94, 0]]
    assert np.array_equal(colors_of_loss(np.array([-0.3])), colors_of_loss(np.array([0.0])))
    assert np.array_equal(colors_of_loss(np.array([0.9])), colors_of_loss(np.array([0.5])))
    assert colors_of_loss(np.array([np.nan, 0.3]), np.array([True, True])).tolist() == [[255] * 3, [150] * 3]
    moved = colors_of_movement(np.array([-20.0, -10.0, 0.0, 10.0, np.nan])).tolist()
    assert moved == [[118, 42, 131], [118, 42, 131], [255] * 3, [27, 120, 55], [255] * 3]


def test_map_shows_the_front_on_top_and_lines_at_the_limits(tmp_path: Path) -> None:
    image = pixels(height_loss_png(answer()), tmp_path)
    column = image[52:192, 165].astype(int)  # down the middle of the map
    light = column @ [0.2126, 0.7152, 0.0722]
    lines = np.flatnonzero((column == 60).all(1))
    assert len(lines) >= 2  # 20 % and 25 %; at the very front 40 %
    assert light[5:14].mean() < light[-24:-15].mean() - 60
    grey = (image[52:192, :300] == 150).all(-1)
    assert 50 < grey.sum() < 0.05 * grey.size, "what cannot be told"
    assert np.flatnonzero(grey.any(0)).min() > 200
    tall = pixels(height_loss_png(answer(network=True)), tmp_path)
    assert tall.shape[0] > image.shape[0] + 180 and tall.shape[1] == image.shape[1]
    outlined = (tall == [230, 159, 0]).all(-1)
    assert outlined[image.shape[0] :, :190].sum() == outlined[image.shape[0] :, 194:].sum() > 100


def test_sentences_say_what_the_reference_is() -> None:
    text = height_loss_sentence(answer())
    assert "Height loss against neighbours: anterior 33 %, middle 20 %, posterior 7 %" in text
    assert "right 20 %, central 20 %; whole" in text and "T12 and L2" in text
    assert "anterior rim 38 %" in text and "cannot be told" in text
    text = height_loss_sentence(answer(network=True))
    assert text.startswith("HealthiVert-GAN") and "drawn by a network and not measured" in text
    warped = answer(network=True) | {"reference": "warp", "reasons": []}
    text = height_loss_sentence(warped)
    assert text.startswith("Height loss by the warp to grade 0: anterior 33 %") and "convincing" not in text
    hidden = warped | {"reasons": ["there is gas in the body"]}
    assert "no convincing picture: there is gas" in height_loss_sentence(hidden)
    assert height_loss_png(warped, "L1") != height_loss_png(hidden, "L1")


def test_page_escapes_and_tells_maps_from_other_pictures() -> None:
    drawn = Drawn.of_height_loss("L1<script>", answer())
    assert "<script>" not in figures([drawn]) and "L1&lt;script&gt; loss of height" in figures([drawn])
    page = html_page(Report({}, (), {}), None, None, False, None, [drawn])
    assert "Where height was lost" in page and "Vertebrae at another grade" not in page


def test_explanations_travel_with_volumes_as_files(tmp_path: Path) -> None:
    seen = answer(network=True)
    message = decode(encode({"explanation": explanation_message(seen, str(tmp_path))}))["explanation"]
    assert message["sides"]["left"] is None and message["loss"][0][0] is None
    back = read_explanation(message)
    assert np.array_equal(back["original"], seen["original"]) and back["original"].dtype == np.int16
    assert height_loss_png(back) == height_loss_png(seen)
    assert isinstance(explanation_message(seen, None)["original"], list)
    next(tmp_path.glob("original*")).write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_explanation(message)


def test_command_line_writes_map_and_columns(tmp_path: Path) -> None:
    ct, points = write_demo_case(tmp_path)
    run = ["height-loss", str(ct), "--centroids", str(points), "--level", "L1", "--bodies", "classical"]
    result = CliRunner().invoke(app, [*run, "--by", "neighbours", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "anterior rim" in result.output and "the shape of its neighbours" in result.output
    content = json.loads((tmp_path / "out" / "height_loss.json").read_text(encoding="utf-8"))
    assert list(content["maps"]) == ["neighbours"] and content["level"] == "L1"
    told = content["maps"]["neighbours"]
    assert told["thirds"]["anterior"] > told["thirds"]["posterior"] + 0.1 and told["reference_levels"] == ["T12", "L2"]
    assert told["anterior_rim"] > told["thirds"]["middle"] + 0.05
    with (tmp_path / "out" / "height_loss-neighbours.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["uncertain"] for row in rows} <= {"true", "false"}
    front = [float(row["loss"]) for row in rows if int(row["behind_mm"]) < 8]
    back = [float(row["loss"]) for row in rows if int(row["behind_mm"]) > 20]
    assert np.mean(front) > np.mean(back) + 0.1
    assert (tmp_path / "out" / "height_loss-neighbours.png").stat().st_size > 5000
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    bad = CliRunner().invoke(app, [*run[:-3], "L9", "--by", "neighbours"])
    assert isinstance(bad.exception, VertebralGradingError) and "L9" in bad.exception.message


def test_by_default_the_warp_is_shown_and_the_network_where_it_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from VertebralGradingLib import files

    def without(name: str) -> Any:
        def check(ct: Any) -> None:
            if name == "healthivert":
                raise MethodError("There is no model.", "Import one.")

        return SimpleNamespace(check=check)

    monkeypatch.setattr(files, "load", without)
    ct, points = write_demo_case(tmp_path)
    run = ["height-loss", str(ct), "--centroids", str(points), "--level", "L1", "--bodies", "classical"]
    result = CliRunner().invoke(app, [*run, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "height_loss.json").read_text(encoding="utf-8"))
    assert list(content["maps"]) == ["warp"] and "no model" in content["not_run"]["healthivert"]
    told = content["maps"]["warp"]
    assert told["reasons"] == [] and told["anterior_rim"] == pytest.approx(0.33, abs=0.06)  # 40 % at the very edge
    assert told["reached_mm"] == pytest.approx(told["healthy_mm"], abs=0.1)
    healthy, given = read_volume(tmp_path / "out" / "pseudo_healthy-warp.nii.gz"), read_volume(ct)
    assert healthy.spacing == pytest.approx(given.spacing, abs=1e-4)
    refused = CliRunner().invoke(app, [*run, "--by", "both"])
    assert isinstance(refused.exception, MethodError)
