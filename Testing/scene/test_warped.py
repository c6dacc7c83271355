"""The warp in the scene: what is kept of it, the warped CT in place of the CT as it is drawn, maps with grey."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from host.application import Application
from host.cases import SOME_POINTS, add_points, add_volume, demo, show_graded_demo
from host.rendering import SliceView, save_png

from VertebralGradingLib.counterfactual.live import KNOT_GRADES
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import explain, grade
from VertebralGradingLib.report.warped import kept_warp
from VertebralGradingLib.scene.drawn import ENDPLATE, HEALTHY, MAP, loss_part
from VertebralGradingLib.scene.in_place import InPlace
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.studies import all_results
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study

CT, _ = demo()
SHOTS = os.environ.get("VERTEBRAL_GRADING_ARTEFACTS")


@cache
def _study() -> Study:
    seen: list[Study] = []
    grade(CT, build_spine(SOME_POINTS), on_study=seen.append, bodies_by="classical")
    return seen[0]


@cache
def _explained(kind: str) -> dict[str, Any]:
    study, options = _study(), {}
    if kind == "counterfactual":
        options = {"grades": list(KNOT_GRADES), "volumes": True}
    return explain(study.ct, study.spine, level="L1", kind=kind, study=study, **options)


def _show() -> tuple[StudyResults, Any]:
    node = add_volume(CT, "demo")
    return show_graded_demo(node, add_points(SOME_POINTS), SOME_POINTS), node


def _keep(results: StudyResults, image: Any, place: int = 0) -> Any:
    answer = _explained("counterfactual")
    wish = {"grade": float(KNOT_GRADES[place]), "shape": "own"}
    ct = Volume(answer[f"volume_{place}"], np.asarray(answer["affine"]))
    return results.keep_warped_ct("L1", ct, wish, image)


def test_the_warped_ct_is_drawn_in_place_of_the_ct_and_goes(app: Application, tmp_path: Path) -> None:
    results, image = _show()
    node = _keep(results, image)
    finding = next(one for one in results.report.findings if one.level == "L1")
    points = np.array(finding.points_ras_mm)
    view = SliceView(app, "Sagittal")
    view.show(image)
    layers = InPlace()

    def picture() -> Any:
        return view.render((360, 360), finding.center_ras_mm, 150.0)

    fill = results.segmentation_node.GetDisplayNode().GetVisibility2DFill
    before = picture()
    assert fill()
    layers.show(node, results.segmentation_node)
    assert not fill(), "where things were is drawn as outlines only"
    after = picture()
    assert layers.is_shown
    folder = Path(SHOTS) if SHOTS else tmp_path
    for name, one in (("before", before), ("after", after)):
        save_png(one.image, folder / f"slice-warp-{name}.png")
    answer = _explained("counterfactual")
    moved = answer["moved_mm"][0]["superior"]["anterior"]
    raised = points[0] + np.array([0.0, -3.0, moved - 2.0])
    grey = [float(np.mean(one.color_at(raised))) for one in (before, after)]
    assert grey[1] > grey[0] + 20, "bone where there was a disc"
    far = np.array(finding.center_ras_mm) + np.array([0.0, 28.0, -50.0])
    assert np.array_equal(before.color_at(far), after.color_at(far)), (
        "the CT is seen around the crop and where nothing moved"
    )
    layers.put_back()
    assert fill()
    assert np.array_equal(picture().image, before.image)
    view.close()


def test_what_was_on_top_comes_back_and_a_node_that_went_does_no_harm(app: Application) -> None:
    results, image = _show()
    node, own, gone = _keep(results, image), add_volume(CT, "mine"), add_volume(CT, "gone")
    views = [SliceView(app, "Axial"), SliceView(app, "Coronal")]
    for view, top in zip(views, (own, gone), strict=True):
        view.show(image)
        view.composite.SetForegroundVolumeID(top.GetID())
        view.composite.SetForegroundOpacity(0.3)
    layers = InPlace()
    layers.put_back()  # nothing is shown yet
    layers.show(node)
    layers.show(node)
    assert {view.composite.GetForegroundVolumeID() for view in views} == {node.GetID()}
    app.scene.RemoveNode(gone)
    layers.put_back()
    assert views[0].composite.GetForegroundVolumeID() == own.GetID()
    assert views[0].composite.GetForegroundOpacity() == pytest.approx(0.3)
    assert views[1].composite.GetForegroundVolumeID() is None
    for view in views:
        view.close()


def test_what_is_kept_of_a_warp_is_saved_replaced_and_taken_away(app: Application, tmp_path: Path) -> None:
    results, image = _show()
    about = kept_warp(_explained("counterfactual"), "L1", 0.0)
    results.keep_warp("L1", about)
    results.keep_warp("L1", about | {"grade": 2.0})
    node = _keep(results, image)
    assert _keep(results, image, 8) is node, "one warped CT for a vertebra"
    assert node.GetName().startswith("L1 warped to grade 3.0")
    assert results.warped_ct("L1", {"grade": 0.0, "shape": "own"}) is None
    path = tmp_path / "study.mrb"
    assert slicer.util.saveScene(str(path))
    voxels = slicer.util.arrayFromVolume(node).copy()
    app.scene.Clear(0)
    slicer.util.loadScene(str(path))
    (loaded,) = all_results(app.scene)
    assert loaded.kept_warp("L1") == about | {"grade": 2.0}
    again = loaded.warped_ct("L1", {"grade": 3.0, "shape": "own"})
    assert np.array_equal(slicer.util.arrayFromVolume(again), voxels)
    loaded.node.SetParameter("warps", '{"L1": {"level": "L1"}}')
    assert loaded.kept_warp("L1") is None, "what an editor has damaged is not shown"
    loaded.node.SetParameter("warps", "[")
    assert loaded.kept_warp("L1") is None
    loaded.forget_warps()
    assert loaded.warped_ct("L1", {"grade": 3.0, "shape": "own"}) is None


def test_columns_that_cannot_be_told_are_grey_in_the_scene(app: Application) -> None:
    results, image = _show()
    answer = dict(_explained("height_loss_map"))
    answer["uncertain"] = np.isfinite(answer["loss"]) & (np.arange(len(answer["loss"]))[:, None] < 4)
    results.keep_height_loss("L1", answer, "", "told")
    assert results.kept_height_loss("L1", warped=True) == ("", "told")
    assert results.kept_height_loss("L1") is None
    values = slicer.util.arrayFromVolume(results.drawn_node("L1", loss_part(MAP, True)))[0].T
    shown = values[values > -100]
    assert (values == 0).sum() == answer["uncertain"].sum() > 20
    assert len(shown) == np.isfinite(answer["loss"]).sum()
    assert np.unique(shown)[1] >= 100 * 0.5 / 256, "no certain column has the colour of the uncertain"
    colors = results.drawn_node("L1", loss_part(ENDPLATE, True)).GetDisplayNode().GetColorNode().GetLookupTable()
    assert [round(255 * part) for part in colors.GetTableValue(0)[:3]] == [150, 150, 150]
    healthy = results.drawn_node("L1", loss_part(HEALTHY, True))
    assert healthy.GetSpacing() == pytest.approx(image.GetSpacing())
    results.keep_height_loss("L1", answer | {"reasons": ["there is gas in the body"]}, "", "told")
    assert results.drawn_node("L1", loss_part(HEALTHY, True)) is None, "no picture that does not convince"
