"""Reports: sentences, table, page, pictures, and what must never be in them."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from rendering.findings import finding, not_assessed, report_of, six_points, stopped, undecided

from VertebralGradingLib.errors import OutputError
from VertebralGradingLib.findings import (
    RESEARCH_USE,
    Evidence,
    Finding,
    Hypothesis,
    Reading,
    Report,
)
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.findings.states import STATES
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report.canvas import Canvas, encode_png
from VertebralGradingLib.report.colors import color_of_grade, state_colors
from VertebralGradingLib.report.csv_table import COLUMNS, csv_text
from VertebralGradingLib.report.marks import spread
from VertebralGradingLib.report.patches import patch_grid
from VertebralGradingLib.report.pictures import Overview, label_picture, sagittal_overview, to_gray
from VertebralGradingLib.report.privacy import without_private
from VertebralGradingLib.report.profile import height_profile, level_places
from VertebralGradingLib.report.sentences import sentence, summary_sentence
from VertebralGradingLib.report.write import NAMES, write_report
from VertebralGradingLib.spine.points import Point
from VertebralGradingLib.spine.spine import Spine, build_spine

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("T11", "T12", "L1", "L2", "L3")
HOSTILE = """<script>alert("x")</script>'"&lt;</svg></style>"""
VOID = {"meta", "br", "link", "img", "hr"}


def scoliotic_spine(count: int = 5) -> Spine:
    """Bodies 30 mm apart on a sideways arc, L1 in the middle."""
    place = [(4.0 * (n - 2) ** 2, 10.0 + 3.0 * n, 200.0 - 30.0 * n) for n in range(count)]
    return build_spine([Point(p, level) for p, level in zip(place, LEVELS, strict=False)])


def volume_of(function: Any, shape: tuple[int, int, int] = (60, 70, 90), turned: bool = False) -> Volume:
    """A volume of 3 mm voxels whose values are a function of RAS mm."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -60.0, -90.0, 5.0
    if turned:  # left-handed, axes swapped: k runs to the right, i downwards
        affine = np.array([[0, 0, 3.0, -60], [0, 3.0, 0, -90], [-3.0, 0, 0, 272], [0, 0, 0, 1.0]])
        shape = (90, 70, 60)
    volume = Volume(np.zeros(shape, np.float32), affine)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return replace(volume, array=function(volume.to_ras(index)).astype(np.float32))


def whole_report(spine: Spine) -> Report:
    losses = {"anterior": 0.05, "middle": 0.08, "posterior": -0.01}
    findings = [
        finding(v.level, 0, center_ras_mm=v.center, deformity="none", height_loss=losses, score=0.2)
        for v in spine.vertebrae
    ]
    findings[1] = not_assessed("T12")
    findings[2] = finding("L1", 2, center_ras_mm=spine.by_level["L1"].center)
    return report_of(*findings)


# --- table -----------------------------------------------------------------------------------------------------------


def test_csv_has_one_row_for_each_vertebra() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(report_of(finding(), not_assessed())))))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:6] == ("level", "state", "grade", "loss_percent", "loss_percent_low", "loss_percent_high")
    graded, missing = rows
    assert (graded["level"], graded["grade"], graded["score_low"], graded["score_high"]) == (
        "L1",
        "2",
        "1.600",
        "2.300",
    )
    assert (graded["anterior_mm"], graded["loss_anterior"], graded["trabecular_hu"]) == ("18.40", "0.320", "118.4")
    assert (graded["center_r_mm"], graded["center_a_mm"], graded["center_s_mm"]) == ("0.00", "16.00", "140.00")
    assert (graded["state"], graded["loss_percent"], graded["probability_grade_2"]) == ("grade 2", "32.0", "0.950")
    assert (missing["state"], missing["grade"], missing["anterior_mm"]) == ("not assessed", "", "")
    assert missing["reason"] == FLAG_TEXT["cut_by_volume_edge"]


def test_csv_gives_the_readers_word_beside_the_automatic_grade() -> None:
    found = (
        finding(),
        finding("L2", reading=Reading("grade 0", agreed=False)),
        finding("L3", reading=Reading(exclusion="Schmorl node"), second_reading=Reading("grade 2")),
        finding("L4", reading=Reading("grade 1", "=cmd()", confirmed=True)),
    )
    rows = list(csv.DictReader(io.StringIO(csv_text(report_of(*found)))))
    assert [row["reader_grade"] for row in rows] == ["", "0", "", "1"]
    assert [row["reader_exclusion"] for row in rows] == ["", "", "Schmorl node", "'=cmd()"]
    assert [row["grade"] for row in rows] == ["2"] * 4
    assert [row["reader_confirmed"] for row in rows] == ["false", "false", "false", "true"]
    assert [row["second_reader_state"] for row in rows] == ["", "", "grade 2", ""]


def test_csv_tells_both_answers_of_an_undecided_vertebra_and_other_methods() -> None:
    one = undecided()
    one = replace(one, evidence=(*one.evidence, Evidence("dae", 1, None, 1.0)))
    (row,) = csv.DictReader(io.StringIO(csv_text(report_of(one))))
    assert (row["state"], row["grade"], row["hypotheses"]) == ("undecided", "", "0 if Schmorl node;2 if fracture")
    assert row["other_methods"] == "dae 1"


def test_csv_joins_flags_and_writes_no_formula() -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(report_of(finding("=1+1", flags=("a", "b"), deformity="@x")))))
    assert row["flags"] == "a;b"
    assert row["level"] == "'=1+1"
    assert row["deformity"] == "'@x"


# --- overview --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_overview_shows_each_place_where_project_says(turned: bool, step: float) -> None:
    volume = volume_of(lambda ras: 2.0 * ras[..., 2] + 0.5 * ras[..., 1], turned=turned)
    overview = sagittal_overview(volume, scoliotic_spine(), step)
    for r, a, s in ((90.0, 10.5, 200.25), (-50.0, 22.0, 80.0), (0.0, -20.0, 111.75)):
        row, column = overview.project(np.array([[r, a, s]]))[0]
        low = int(row), int(column)
        patch = overview.image[low[0] : low[0] + 2, low[1] : low[1] + 2]
        y, x = row - low[0], column - low[1]
        value = (1 - y) * ((1 - x) * patch[0, 0] + x * patch[0, 1]) + y * ((1 - x) * patch[1, 0] + x * patch[1, 1])
        assert value == pytest.approx(2.0 * s + 0.5 * a, abs=0.01)


def test_overview_follows_the_curve_sideways() -> None:
    spine = scoliotic_spine()
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 0]), spine)
    for center in spine.centers:
        row, column = np.rint(overview.project(center)[0]).astype(int)
        assert overview.image[row, column] == pytest.approx(center[0], abs=0.6)
    top = overview.image[0]
    assert np.allclose(top, spine.centers[0, 0], atol=0.6)  # constant above the highest centroid


def test_overview_extent_and_orientation() -> None:
    spine = scoliotic_spine()
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 1]), spine)
    assert overview.top_mm == pytest.approx(240.0)
    assert overview.image.shape[0] == 201  # 240 .. 40
    assert overview.front_mm == pytest.approx(72.0)
    assert overview.image.shape[1] == 72 + 60 + 1  # 50 mm in front of A 22, 70 mm behind A 10
    assert np.all(np.diff(overview.image[100]) < 0)  # anterior on the left
    small = sagittal_overview(volume_of(lambda ras: ras[..., 1], shape=(60, 40, 70)), spine)
    assert small.top_mm == pytest.approx(5 + 3 * 69)  # clipped to the volume
    assert small.front_mm == pytest.approx(-90 + 3 * 39)


@pytest.mark.parametrize("count", [1, 2])
def test_overview_of_few_vertebrae(count: int) -> None:
    spine = scoliotic_spine(count)
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 0]), spine)
    assert overview.image.shape[0] >= 80
    assert np.isfinite(overview.image).all()


def test_overview_of_a_lying_spine_and_of_one_outside_the_volume() -> None:
    lying = build_spine([Point((0.0, 30.0 * n, 100.0), None) for n in range(3)])
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 2]), lying)
    assert overview.image.shape[0] == 81
    outside = build_spine([Point((0.0, 0.0, 5000.0 - 30 * n), None) for n in range(3)])
    image = sagittal_overview(volume_of(lambda ras: ras[..., 2]), outside, fill=-7.0).image
    assert np.all(image == -7.0)


def test_overview_runs_straight_between_chains() -> None:
    places = [(0.0, 0.0, 220.0), (0.0, 0.0, 190.0), (30.0, 0.0, 90.0), (30.0, 0.0, 60.0)]
    spine = build_spine([Point(p, level) for p, level in zip(places, ("T9", "T10", "L2", "L3"), strict=True)])
    assert len(spine.curves) == 2
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 0]), spine)
    row, column = np.rint(overview.project([[0.0, 0.0, 140.0]])[0]).astype(int)
    assert overview.image[row, column] == pytest.approx(15.0, abs=0.7)


def test_gray_pictures() -> None:
    assert to_gray(np.array([-2000.0, -160.0, 240.0, 640.0, np.nan])).tolist() == [0, 0, 128, 255, 0]
    labels = label_picture(np.array([[0, 20, 21, 22, 500]], dtype=np.uint16))
    assert labels.dtype == np.uint8
    assert labels[0, 0] < 60 < labels[0, 1:].min()
    assert labels[0, 1] != labels[0, 2] != labels[0, 3]


# --- page ------------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """Collects tags, attributes and texts, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.source = text
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


def write(report: Report, folder: Path, pictures: bool = True, is_mask: bool = False) -> tuple[dict[str, Path], _Page]:
    spine = scoliotic_spine()
    volume = volume_of(lambda ras: 20 * (np.abs(ras[..., 2] % 30 - 15) < 10) if is_mask else ras[..., 1] * 5)
    if is_mask:
        volume = replace(volume, array=volume.array.astype(np.uint8))
    paths = write_report(report, folder, volume if pictures else None, spine if pictures else None, is_mask)
    return paths, _Page(paths["html"].read_text(encoding="utf-8"))


@pytest.mark.parametrize("is_mask", [False, True])
def test_report_is_written_whole(tmp_path: Path, is_mask: bool) -> None:
    report = whole_report(scoliotic_spine())
    paths, page = write(report, tmp_path / "new" / "folder", is_mask=is_mask)
    assert {name: path.name for name, path in paths.items()} == NAMES
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(NAMES.values())
    assert json.loads(paths["json"].read_text(encoding="utf-8")) == report.to_dict()
    assert page.text.count(RESEARCH_USE) == 2
    for part in ("Overview", "Each vertebra", "Heights over level", "All vertebrae", "Not assessed", "Provenance"):
        assert part in page.text
    assert summary_sentence(report) in page.text
    assert sentence(report.findings[2]) in page.text
    assert sentence(report.findings[1]) in page.text
    pictures = [value for name, value in page.attributes if name == "href"]
    assert len(pictures) == 6
    assert all(value.startswith("data:image/png;base64,") for value in pictures)


def test_page_needs_no_script_and_no_network(tmp_path: Path) -> None:
    paths, page = write(whole_report(scoliotic_spine()), tmp_path)
    assert not page.tags & {"script", "link", "iframe", "object", "img", "form"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    text = paths["html"].read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|@import", text)


def test_a_run_that_stopped_says_so_first_and_has_a_row_for_each_vertebra(tmp_path: Path) -> None:
    page = write(stopped(), tmp_path)[1]
    assert page.text.index("3 of 9 assessed; run not finished.") < page.text.index("vertebrae assessed")
    assert "no deformity" not in page.text.lower()
    rows = list(csv.DictReader(io.StringIO(csv_text(stopped()))))
    assert [row["state"] for row in rows] == ["grade 0"] * 3 + ["not reached"] * 6
    assert {row["deformity"] for row in rows[3:]} == {""}


def test_what_the_reader_has_to_decide_stands_on_top(tmp_path: Path) -> None:
    page = write(report_of(finding("T10", 0), undecided()), tmp_path)[1]
    assert "1 undecided" in page.text
    assert page.text.index(sentence(undecided())) < page.text.index("Each vertebra")


def test_methods_that_did_not_run_are_told(tmp_path: Path) -> None:
    report = report_of(finding())
    report = replace(report, provenance={**report.provenance, "not_run": {"dae": "The latent method needs a CT."}})
    assert "Diffusion autoencoder did not run: The latent method needs a CT." in write(report, tmp_path)[1].text


def test_hostile_texts_are_escaped_everywhere(tmp_path: Path) -> None:
    evidence = (
        Evidence(HOSTILE, 0, (0.0, 0.2), 0.1, {}, (HOSTILE,)),
        Evidence("morphometry", 2, (1.6, 2.3), 2.0, {"trabecular_hu": HOSTILE, "loss_interval": HOSTILE}),
    )
    changes: dict[str, Any] = {"deformity": HOSTILE, "reason": HOSTILE, "evidence": evidence}
    graded = finding(HOSTILE, 2, flags=(HOSTILE, "methods_disagree"), hypotheses=(Hypothesis(HOSTILE, 0),), **changes)
    odd = finding(HOSTILE, state=HOSTILE, reason=HOSTILE)
    report = report_of(graded, odd, not_assessed(HOSTILE, HOSTILE), **{HOSTILE: {HOSTILE: [HOSTILE]}})
    paths, page = write(report, tmp_path)
    text = paths["html"].read_text(encoding="utf-8")
    assert "<script" not in text
    assert page.text.count('alert("x")') >= 12
    assert page.tags <= set(write(whole_report(scoliotic_spine()), tmp_path / "usual")[1].tags)
    assert HOSTILE in next(csv.DictReader(paths["csv"].open(encoding="utf-8")))["level"]


def table_rows(text: str) -> list[list[str]]:
    """Cells of the table of all vertebrae, without mark-up."""
    table = text[text.index('<table class="all">') :].partition("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)]
    return [[re.sub("<[^>]+>", "", cell) for cell in row] for row in rows]


def test_page_has_a_readers_column_only_where_somebody_read(tmp_path: Path) -> None:
    spine = scoliotic_spine()
    plain = whole_report(spine)
    assert "Reader" not in table_rows(write(plain, tmp_path)[1].source)[0]
    named = replace(plain, provenance={**plain.provenance, "reader": "A. Reader"})
    rows = table_rows(write(named, tmp_path)[1].source)
    assert rows[0][1:3] == ["State", "Reader"]
    assert {row[2] for row in rows[2:]} == {"–"}
    assert "A. Reader" in write(named, tmp_path)[1].text


def test_page_follows_the_reader(tmp_path: Path) -> None:
    spine = scoliotic_spine()
    report = whole_report(spine)
    said = {
        "T11": Reading("grade 3"),
        "T12": Reading("grade 1"),
        "L1": Reading(exclusion=HOSTILE),
        "L2": Reading("grade 0"),
    }
    report = replace(report, findings=tuple(replace(f, reading=said.get(f.level)) for f in report.findings))
    page = write(report, tmp_path)[1]
    rows = {row[0]: row for row in table_rows(page.source)[2:]}
    assert [rows[level][1] for level in LEVELS] == [
        "grade 0",
        "not assessed",
        "grade 2",
        "grade 0",
        "grade 0",
    ]
    assert [rows[level][2] for level in ("T11", "T12", "L2", "L3")] == ["grade 3", "grade 1", "grade 0", "–"]
    assert rows["L1"][2].startswith("excluded: &lt;script&gt;")
    assert "<script" not in page.source
    for one in report.findings[:2]:
        assert page.text.index(sentence(one)) < page.text.index("Overview")
    assert page.text.index("L1: excluded by the reader") > page.text.index("All vertebrae")
    assert "L1: grade 2" not in page.text
    assert summary_sentence(report) in page.text
    drawn = page.source[page.source.index('<div class="overview">') : page.source.index("</aside>")]
    assert all(text in drawn for text in ("grade 3 (reader)", "grade 1 (reader)", "excluded"))
    patches = page.source[page.source.index('<div class="strip">') : page.source.index("Heights over level")]
    cards = re.findall(r"<figure>.*?</figure>", patches, re.DOTALL)
    assert color_of_grade(3).color in cards[0]
    assert color_of_grade(0).color not in cards[0]
    assert color_of_grade(2).color not in cards[2]
    assert "excluded by the reader (&lt;script" in cards[2]


def test_overview_picture_follows_the_reader(tmp_path: Path) -> None:
    spine = scoliotic_spine()
    report = whole_report(spine)
    images = []
    for reading in (None, Reading("grade 3"), Reading(exclusion="degenerative")):
        findings = tuple(replace(f, reading=reading) if f.level == "L1" else f for f in report.findings)
        files, _ = write(replace(report, findings=findings), tmp_path)
        images.append(sitk.GetArrayFromImage(sitk.ReadImage(str(files["png"]))))
    counts = [[int((image == color_of_grade(grade).rgb).all(-1).sum()) for grade in (2, 3, None)] for image in images]
    assert counts[0][0] > counts[1][0] + 100
    assert counts[1][1] > counts[0][1] + 100
    assert counts[2][2] > counts[0][2] + 100
    assert counts[2][0] == counts[1][0], "only the key is left in the colour of grade 2"


def test_profile_numbers_are_final_grades() -> None:
    drawn = height_profile(
        [finding("L1", 0), finding("L2", 1, reading=Reading("grade 3")), finding("L3", reading=Reading("grade 0"))]
    )
    numbers = re.findall(r'font-weight="700"[^>]*>(\d)<', drawn)
    assert numbers == ["3"] * 3


def test_methods_that_differ_are_shown(tmp_path: Path) -> None:
    same = Evidence("other_method", 2, (1.5, 2.4), 2.1)
    apart = replace(same, grade=0, score=0.3)
    first = finding()
    agree = replace(first, evidence=(*first.evidence, same))
    differ = replace(first, evidence=(*first.evidence, apart))
    assert "Methods that differ" not in write(report_of(agree), tmp_path)[1].text
    assert "Methods that differ" in write(report_of(differ), tmp_path)[1].text


def test_flags_appear_in_words(tmp_path: Path) -> None:
    report = report_of(finding("L1", flags=("thick_slices", "mask_found")), finding("L2", flags=("mask_found",)))
    text = write(report, tmp_path, pictures=False)[1].text
    assert FLAG_TEXT["thick_slices"] in text
    assert f"All assessed vertebrae: {FLAG_TEXT['mask_found']}." in text


@pytest.mark.parametrize("pictures", [True, False])
@pytest.mark.parametrize(
    "findings",
    [
        (),
        (not_assessed("T12"), not_assessed("L1", "outside_volume")),
        (finding("V1", heights_mm={}, height_loss={}, points_ras_mm=(), evidence=()),),
        (finding("L1", score=float("nan"), heights_mm={"anterior": float("nan")}, center_ras_mm=(np.nan,) * 3),),
        (replace(finding("L1"), evidence=(Evidence("morphometry", 2, None, 2.0, {"reference_mm": None}),)),),
    ],
)
def test_poor_reports_render(tmp_path: Path, findings: tuple[Finding, ...], pictures: bool) -> None:
    paths, page = write(report_of(*findings), tmp_path, pictures=pictures)
    assert RESEARCH_USE in page.text
    assert ("png" in paths) is pictures
    shown = page.text + " ".join(value for name, value in page.attributes if name != "href")
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)
    assert "None" not in page.text


def test_an_old_overview_does_not_stay_beside_new_findings(tmp_path: Path) -> None:
    write(whole_report(scoliotic_spine()), tmp_path)
    assert "png" not in write(report_of(), tmp_path, pictures=False)[0]
    assert not (tmp_path / "overview.png").exists()


# --- pictures --------------------------------------------------------------------------------------------------------


def test_overview_picture_is_readable_and_marks_the_bodies(tmp_path: Path) -> None:
    spine = scoliotic_spine()
    paths, _ = write(whole_report(spine), tmp_path)
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(paths["png"])))
    overview = sagittal_overview(volume_of(lambda ras: ras[..., 1] * 5), spine, 0.5)
    rows, columns = overview.image.shape
    assert image.shape[0] > 2 * rows
    assert image.shape[1] > 2 * columns
    assert image.shape[2] == 3
    wanted = np.array(color_of_grade(2).rgb)
    y, x = np.nonzero((np.abs(image.astype(int) - wanted) <= 2).all(-1) & (np.arange(image.shape[1]) > 370))
    points = (overview.project(six_points(spine.by_level["L1"].center)) + 0.5) * 2 + (20, 370)
    assert y.min() == pytest.approx(points[:, 0].min(), abs=7)
    assert y.max() == pytest.approx(points[:, 0].max(), abs=7)
    assert x.min() == pytest.approx(points[:, 1].min(), abs=7)
    assert x.max() == pytest.approx(points[:, 1].max(), abs=7)


def test_png_round_trip(tmp_path: Path) -> None:
    gray = np.arange(35, dtype=np.uint8).reshape(5, 7)
    (tmp_path / "gray.png").write_bytes(encode_png(gray))
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "gray.png"))) == gray).all()


def test_canvas_draws_where_it_is_told() -> None:
    canvas = Canvas(np.zeros((40, 60), np.uint8))
    canvas.disc((10, 20), 4, (255, 0, 0))
    assert canvas.rgb[20, 10].tolist() == [255, 0, 0]
    assert canvas.rgb[20, 16].tolist() == [0, 0, 0]
    canvas.line((-50, 5), (500, 5), (0, 255, 0), 1)
    assert canvas.rgb[5, 0, 1] == canvas.rgb[5, 59, 1] == 255
    width = canvas.text(30, 35, "T", 16, (255, 255, 255), bold=True)
    ink = np.argwhere(canvas.rgb[..., 2] > 128)
    assert 5 < width < 20
    assert ink[:, 0].max() == pytest.approx(34, abs=1)  # stands on its baseline
    assert ink[:, 1].min() >= 30
    canvas.text(1000, 1000, "outside", 16)


def test_vtk_needs_no_opengl() -> None:
    script = (
        "import sys, numpy as np\n"
        "from VertebralGradingLib.report.canvas import Canvas\n"
        "c = Canvas(np.zeros((20, 60), np.uint8)); c.text(2, 15, 'L1', 12, (255, 255, 255)); c.png()\n"
        "assert not [m for m in sys.modules if 'OpenGL' in m]\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_patch_lies_in_the_plane_of_the_points() -> None:
    tilt = np.deg2rad(25)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    center = np.array([3.0, 16.0, 140.0])
    points = np.array(six_points((0, 0, 0))) @ turn.T + center
    grid = patch_grid(finding(points_ras_mm=tuple(map(tuple, points)), center_ras_mm=center), None)
    index = grid.to_index(points)
    assert np.allclose(index[:, 2], 0, atol=1e-6)
    middle = (grid.shape[0] - 1) / 2
    assert np.allclose(index[2:4].mean(0)[:2], middle, atol=1e-6)
    assert np.allclose(index[2:4, 1], middle, atol=1e-6)  # the middle height stands upright
    assert index[0, 1] < index[4, 1]  # anterior on the left
    assert index[0, 0] < index[1, 0]  # cranial on top


# --- profile, colours ------------------------------------------------------------------------------------------------


def test_profile_has_three_plots_and_gaps() -> None:
    def one(level: str, **changes: Any) -> Finding:
        return finding(level, 0, **changes)

    whole = height_profile([one("T10"), one("T11"), one("T12"), one("L1")])
    assert whole.count("<polygon") == 3
    assert whole.count("<circle") == 12
    broken = height_profile([one("T10"), one("T11"), not_assessed("T12"), one("L1"), one("L2")])
    assert broken.count("<polygon") == 6
    missing_level = height_profile([one("T10"), one("T11"), one("L1"), one("L2")])
    assert missing_level.count("<polygon") == 6
    assert height_profile([not_assessed()]) == ""


def test_level_places_use_the_order_when_levels_are_unknown() -> None:
    assert level_places([finding("T12"), finding("L2")]) == [12.0, 14.0]
    assert level_places([finding("V1"), finding("V2")]) == [0.0, 1.0]
    assert level_places([finding("L1"), finding("L1")]) == [0.0, 1.0]


def test_colors_cover_all_states_and_carry_black_text() -> None:
    colors = state_colors()
    assert list(colors) == list(STATES)
    assert len({color.color for color in colors.values()}) == len(STATES)
    for color in colors.values():
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color.rgb) / 255]
        assert (np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05) / 0.05 > 4.5
    assert color_of_grade(None).state == "not assessed"


def test_captions_move_apart() -> None:
    assert spread([10.0, 50.0], 15, 0, 100) == [10.0, 50.0]
    moved = spread([10.0, 11.0, 12.0, 60.0], 15, 0, 100)
    assert np.diff(moved).min() >= 15 - 1e-9
    assert moved[3] == 60.0
    crowded = spread([99.0] * 5, 40, 0, 100)
    assert crowded == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert spread([], 10, 0, 100) == []


# --- privacy, failures -----------------------------------------------------------------------------------------------

SECRETS = {
    "/home/jane doe/study 1/ct.nii.gz": "doe",
    "read from C:\\Users\\Jane\\ct.nii": "Jane",
    "\\\\server\\share\\Jane": "Jane",
    "file:///data/Jane": "Jane",
    "~/Jane/ct.nii": "Jane",
    "JANE_DOE.nii.gz": "JANE",
    "scan of 1961-03-07": "1961",
    "DA 19610307": "19610307",
    "1.2.840.113619.2.55.3.604": "113619",
}


@pytest.mark.parametrize("secret", SECRETS)
def test_private_text_leaves_in_no_file(tmp_path: Path, secret: str) -> None:
    leaking = finding("L1", evidence=(Evidence("morphometry", 2, None, 2.0, {"mask_source": secret}, (secret,)),))
    report = report_of(leaking, not_assessed("T12", secret), source=secret, patient_name="Jane", path=Path("/x/Jane"))
    paths, _ = write(report, tmp_path / "out")
    for name in ("json", "csv", "html"):
        text = paths[name].read_text(encoding="utf-8")
        assert SECRETS[secret] not in text
        assert "Jane" not in text
        assert str(tmp_path) not in text
    assert b"tEXt" not in paths["png"].read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "0.7 x 0.7 x 1.0",
        "1.17.1",
        "2.13.0+cpu",
        "L4/L5",
        "Ha/Hp",
        "10.1148/ryai.2020190138",
        "n/a",
        "-3.5/2",
        "T4 / L2",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert without_private({"note": text}) == {"note": text}


def test_the_readers_name_and_reasons_stay_but_no_path_or_date_in_them(tmp_path: Path) -> None:
    report = report_of(
        finding("L1", reading=Reading("grade 1", "degenerative")),
        finding("L2", reading=Reading(exclusion="see /home/user/notes.txt")),
        finding("L3", reading=Reading(exclusion="fracture known since 2019-03-04")),
    )
    report = replace(report, provenance={**report.provenance, "reader": "Dr. Ada Reader-Smith, 2021-05-06"})
    written = write_report(report, tmp_path, None, None)
    for name in ("json", "csv", "html"):
        text = written[name].read_text(encoding="utf-8")
        assert "degenerative" in text
        assert "fracture known since [removed]" in text
        assert not any(secret in text for secret in ("/home", "notes.txt", "2019", "2021"))
    content = json.loads(written["json"].read_text(encoding="utf-8"))
    assert content["provenance"]["reader"] == "Dr. Ada Reader-Smith, [removed]"
    assert content["findings"][0]["reading"] == {
        "state": "grade 1",
        "exclusion": "degenerative",
        "confirmed": False,
        "agreed": False,
    }
    assert isinstance(without_private(report).findings[0].reading, Reading)


def test_links_stay() -> None:
    link = "https://doi.org/10.1002/jbmr.5650080915"
    assert without_private(link) == link


def test_numbers_become_plain() -> None:
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": np.array([1.0, np.inf])}
    assert without_private(values) == {"a": 0.5, "b": 3, "c": None, "d": [1.0, None]}


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError) as caught:
        write(report_of(finding()), tmp_path / "file" / "folder")
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(report_of(finding("L1")), tmp_path)
    before = (tmp_path / "findings.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="disk is full"):
        write(report_of(finding("L2")), tmp_path)
    assert (tmp_path / "findings.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES.values())


def test_importing_the_report_package_loads_nothing_heavy() -> None:
    script = "import sys, VertebralGradingLib.report; print(*{name.split('.')[0] for name in sys.modules})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, env=env)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "vtk", "vtkmodules", "SimpleITK"}


def test_overview_knows_what_lies_on_it() -> None:
    overview = Overview(np.zeros((10, 20), np.float32), 1.0, 1.0, 0.0, 0.0, np.zeros(10))
    assert overview.contains([[0, 0], [9.4, 19.4], [9.6, 0], [-0.6, 0]]).tolist() == [True, True, False, False]
