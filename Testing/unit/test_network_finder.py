"""Bodies found by a network: geometry on any grid with a network whose answer is known, and what happens without it."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.numpy").save_file

from rendering.analytic import analytic_spine, box_spine_ct, grid_around  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from VertebralGradingLib import pipeline  # noqa: E402
from VertebralGradingLib.errors import MethodError  # noqa: E402
from VertebralGradingLib.image.volume import Volume  # noqa: E402
from VertebralGradingLib.models import places, registry  # noqa: E402
from VertebralGradingLib.models.batches import in_company  # noqa: E402
from VertebralGradingLib.models.cards import Card  # noqa: E402
from VertebralGradingLib.models.weights import describe_file, read_arrays  # noqa: E402
from VertebralGradingLib.morphometry.heights import measure  # noqa: E402
from VertebralGradingLib.segmentation import finders  # noqa: E402
from VertebralGradingLib.segmentation.learned import FILE, MODEL, NetworkFinder, _softness, finder_of_weights  # noqa: E402
from VertebralGradingLib.segmentation.network import EDGE, BodyNetwork, NetworkConfig  # noqa: E402
from VertebralGradingLib.spine.spine import build_spine  # noqa: E402
from VertebralGradingLib.study import prepare  # noqa: E402

LEVELS = ("T12", "L1", "L2")
HEIGHTS = np.array([[24.0, 22.0, 25.0], [18.0, 19.0, 25.0], [26.0, 24.0, 27.0]])


class Threshold(torch.nn.Module):
    """Answers as a network would that calls everything body that is brighter than 300 HU."""

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        return ((hu - 300.0) / 30.0).expand(-1, 4, -1, -1, -1)


AXES = {
    "right, anterior, up": np.eye(3),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
    "flipped": np.diag([-1.0, -1.0, -1.0]),
    "permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique": Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix(),
    "sheared": np.array([[1.0, 0.15, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]]),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 1.6)])
def test_found_body_lies_where_it_is_on_every_grid(axes: np.ndarray, spacing: tuple[float, ...]) -> None:
    spine = analytic_spine(LEVELS, HEIGHTS, sagittal_deg=[6, 0, -6], coronal_deg=[4, 0, -4], origin=(12, -30, 200))
    affine, shape = grid_around(spine, spacing, axes, margin_mm=8)
    case = box_spine_ct(spine, affine, shape, core_hu=600.0, cortex_hu=600.0, disc_hu=0.0)
    points = build_spine(case.points)
    vertebra = points.by_level["L1"]
    start = vertebra.center + np.array([1.5, -2.0, 2.0])
    body = NetworkFinder(_WithoutArch())(case.ct, start, points.axes(vertebra))
    assert np.linalg.norm(body.centroid() - spine.centers[1]) < 2.5  # a wedge's centroid lies behind its middle
    assert measure(body).heights_mm == pytest.approx(HEIGHTS[1], abs=1.2)
    assert body.confidence > 0.8
    assert body.source == "network"


class _WithoutArch(Threshold):
    """The same, up to where the back wall of the vertebra of interest is about to be."""

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        logits = super().forward(hu).clone()
        logits[..., EDGE // 2 + 17 :, :] = -20.0
        return logits


class Recording(_WithoutArch):
    """The same, keeping how many blocks came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(hu))
        return super().forward(hu)


def _three() -> tuple[Any, Any]:
    spine = analytic_spine(LEVELS, HEIGHTS, sagittal_deg=[6, 0, -6], origin=(12, -30, 200))
    case = box_spine_ct(spine, *grid_around(spine, margin_mm=8), core_hu=600.0, cortex_hu=600.0, disc_hu=0.0)
    return case, build_spine(case.points)


def test_no_block_goes_through_the_network_alone() -> None:
    case, spine = _three()
    network = Recording()
    finder = NetworkFinder(network)
    finder(case.ct, spine.by_level["L1"].center, spine.axes(spine.by_level["L1"]))
    assert network.batches == [2, 2]  # the first block and its copy, the second one and its mirror image
    network.batches.clear()
    seen = prepare(case.ct, spine, finder=finders.Finder(finder, find_all=finder.find_all))
    assert network.batches == [2, 4, 2, 2]  # two vertebrae at once, and then the third; nothing is searched twice
    assert all(one.measurement is not None for one in seen.vertebrae)


def test_bodies_found_together_are_those_found_one_by_one() -> None:
    """Also where one of them shows no body, so that there is no second block of it."""
    case, spine = _three()
    finder = NetworkFinder(_WithoutArch())
    found = [(vertebra.center, spine.axes(vertebra)) for vertebra in spine.vertebrae]
    wanted = [*found[:2], (found[1][0] + np.array([0.0, 500.0, 0.0]), found[1][1]), found[2]]
    together = finder.find_all(case.ct, wanted)
    for place, body in zip(wanted, together, strict=True):
        alone = finder(case.ct, *place)
        assert np.abs(body.occupancy - alone.occupancy).max() < 1e-5
        assert (body.flags, body.source) == (alone.flags, alone.source)
        assert body.confidence == pytest.approx(alone.confidence, abs=1e-5)
        assert body.edge_sd_mm == pytest.approx(alone.edge_sd_mm, abs=1e-5)
    assert [body.flags for body in together] == [(), (), ("low_confidence_mask",), ()]
    assert finder.find_all(case.ct, []) == []


def test_real_network_says_the_same_of_blocks_in_company() -> None:
    torch.manual_seed(0)
    network = BodyNetwork(NetworkConfig((8, 16))).eval()
    blocks = 300.0 * torch.randn(3, 1, EDGE, EDGE, EDGE)
    with torch.inference_mode():
        together = network(blocks)
        for n in range(3):
            assert torch.allclose(in_company(network, blocks[n : n + 1]), together[n : n + 1], atol=1e-3)


def test_stopped_search_has_looked_ahead_at_one_vertebra_at_most() -> None:
    case, spine = _three()
    network = Recording()
    finder = NetworkFinder(network)
    ways = finders.Finder(finder, find_all=finder.find_all)
    rows: list[int] = []
    study = prepare(
        case.ct, spine, None, lambda done, *_: done < 1, lambda part: rows.append(len(part.vertebrae)), ways
    )
    assert [one.vertebra.level for one in study.vertebrae] == ["T12"] and not study.complete
    assert network.batches == [2, 4] and rows == [1]
    network.batches.clear()
    assert prepare(case.ct, spine, None, lambda *_: False, finder=ways).vertebrae == ()
    assert network.batches == []


def test_only_what_no_mask_shows_is_searched_ahead() -> None:
    from VertebralGradingLib.segmentation.labels import interpret

    case, spine = _three()
    labels = case.labels.array.copy()
    labels[labels == 20] = 0  # VerSe's L1
    asked: list[int] = []
    finder = NetworkFinder(Recording())

    def find_all(ct: Volume, places_: Any) -> list[Any]:
        asked.append(len(places_))
        return finder.find_all(ct, places_)

    masks = interpret(Volume(labels, case.labels.affine), "verse")
    study = prepare(case.ct, spine, masks, finder=finders.Finder(finder, find_all=find_all))
    assert asked == [1]
    assert [one.measurement.body.source for one in study.vertebrae if one.measurement] == ["given", "network", "given"]


def test_search_that_was_looked_up_answers_for_other_places_and_images_too() -> None:
    case, spine = _three()
    network = Recording()
    finder = NetworkFinder(network)
    known, other = ((spine.by_level[level].center, spine.axes(spine.by_level[level])) for level in ("T12", "L2"))
    ready = finders.Finder(finder, find_all=finder.find_all).ahead(case.ct, [known])
    network.batches.clear()
    ready.find(case.ct, *known, None, None)
    assert network.batches == []
    body = ready.find(case.ct, *other, None, None)
    assert network.batches and np.linalg.norm(body.centroid() - other[0]) < 4.0
    network.batches.clear()
    ready.find(replace(case.ct), *known, None, None)
    assert network.batches
    assert finders.CLASSICAL.ahead(case.ct, [known]) is finders.CLASSICAL


def test_nothing_found_is_said() -> None:
    spine = analytic_spine(LEVELS, HEIGHTS)
    case = box_spine_ct(spine, *grid_around(spine), core_hu=0.0, cortex_hu=0.0, disc_hu=0.0)
    points = build_spine(case.points)
    body = NetworkFinder(Threshold())(case.ct, points.by_level["L1"].center, points.axes(points.by_level["L1"]))
    assert body.confidence == 0.0
    assert "low_confidence_mask" in body.flags
    assert body.edge_sd_mm >= 3.0


def test_softness_of_a_ramp() -> None:
    """An edge that rises linearly over w mm has a standard deviation of w / sqrt(12)."""
    row = np.arange(EDGE, dtype=np.float32)[:, None, None] - (EDGE - 1) / 2
    for width in (1.0, 4.0, 8.0):
        share = np.clip(0.5 + (12.0 - np.abs(row)) / width, 0, 1) * np.ones((1, 4, 4), dtype=np.float32)
        assert _softness(share) == pytest.approx(width / np.sqrt(12), abs=0.12)
    assert _softness(np.zeros((EDGE, 4, 4), dtype=np.float32)) == 3.0


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the right form with random weights, in a folder of imported models."""
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "models"))
    folder = tmp_path / "models" / MODEL
    folder.mkdir(parents=True)
    config = NetworkConfig((8, 16))
    torch.manual_seed(0)
    weights = {name: value.numpy().astype(np.float16) for name, value in BodyNetwork(config).state_dict().items()}
    save_file(weights, folder / FILE)
    _write_card(folder, config)
    finders._loaded.cache_clear()
    return folder


def _write_card(folder: Path, layout: NetworkConfig | None = None, config: dict[str, Any] | None = None) -> None:
    if config is None and layout is not None:
        config = {"network": layout.to_dict(), "calibration": {"base_mm": 0.4}}
    card = Card(MODEL, "99.0.0", "segmentation", "A test.", "0.0.1", (describe_file(folder / FILE),), "Apache-2.0",
                "A test.", "Nothing.", (), config or {})  # fmt: skip
    (folder / "card.json").write_bytes(card.to_json())


def test_installed_network_is_used_and_named(installed: Path) -> None:
    finder = finders.choose_finder("auto")
    assert finder.about["source"] == "network"
    assert finder.about["version"] == "99.0.0"
    assert finder.about["checksum"] == registry.find_model(MODEL).checksum
    assert finder.flags == ()
    assert isinstance(finder.find, NetworkFinder)
    assert finder.find.calibration.base_mm == 0.4
    assert finders.choose_finder("network") is finder  # loaded once
    assert finders.choose_finder("classical") is finders.CLASSICAL


def test_weights_of_16_bit_are_read_as_they_were_written(installed: Path) -> None:
    arrays = read_arrays(installed / FILE)
    theirs = pytest.importorskip("safetensors.numpy").load_file(installed / FILE)
    assert arrays.keys() == theirs.keys()
    for name, array in arrays.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, theirs[name].astype(np.float32))


@pytest.mark.parametrize("fault", ["damaged", "missing", "other layout", "no layout", "no numbers", "no torch"])
def test_without_the_network_bodies_are_found_classically_and_flagged(
    installed: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "damaged":
        data = bytearray((installed / FILE).read_bytes())
        data[-1] ^= 1
        (installed / FILE).write_bytes(bytes(data))
    elif fault == "missing":
        (installed / FILE).unlink()
    elif fault == "other layout":
        _write_card(installed, NetworkConfig((8, 24)))
    elif fault == "no layout":
        _write_card(installed, config={"network": [8, 16], "calibration": {}})
    elif fault == "no numbers":
        _write_card(installed, config={"network": {"channels": [8, 16]}, "calibration": {"base_mm": "much"}})
    else:
        real = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "torch" or name.startswith("torch."):
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
    finder = finders.choose_finder("auto")
    assert finder.about["source"] == "classical"
    assert finder.about["why"]
    assert finder.flags == (finders.NOT_LEARNED,)
    with pytest.raises(MethodError):
        finders.choose_finder("network")


def test_fallback_is_told_in_the_report(installed: Path) -> None:
    (installed / FILE).write_bytes(b"no weights")
    spine = analytic_spine(LEVELS, HEIGHTS)
    case = box_spine_ct(spine, *grid_around(spine, margin_mm=20))
    report = pipeline.grade(case.ct, build_spine(case.points), bodies_by="auto")
    assert report.provenance["bodies_found_by"]["source"] == "classical"
    assert all(finders.NOT_LEARNED in finding.flags for finding in report.findings)
    alone = pipeline.grade(case.ct, build_spine(case.points), bodies_by="classical")
    assert not any(finders.NOT_LEARNED in finding.flags for finding in alone.findings)
    assert [f.heights_mm for f in alone.findings] == [f.heights_mm for f in report.findings]


def test_mask_needs_no_network(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from VertebralGradingLib.segmentation.labels import interpret

    monkeypatch.setattr(finders, "_network", lambda device: pytest.fail("the network was loaded"))
    spine = analytic_spine(LEVELS, HEIGHTS)
    case = box_spine_ct(spine, *grid_around(spine))
    pipeline.grade(case.ct, build_spine(case.points), interpret(case.labels, "verse"), bodies_by="network")


def test_unknown_search_is_refused() -> None:
    with pytest.raises(MethodError, match="magic"):
        finders.choose_finder("magic")
    spine = analytic_spine(LEVELS, HEIGHTS)
    case = box_spine_ct(spine, *grid_around(spine))
    with pytest.raises(MethodError, match="magic"):
        pipeline.grade(case.ct, build_spine(case.points), bodies_by="magic")


def test_network_that_comes_along_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "none"))
    monkeypatch.delenv(finders.ENVIRONMENT)
    assert finders.chosen(None) == "auto"
    finder = finders.choose_finder()
    assert finder.about["source"] == "network"
    model = registry.find_model(MODEL)
    assert model.place == "shipped" and model.bytes <= 4e6
    card = model.verify()
    assert {figure.data for figure in card.figures} and all(figure.command for figure in card.figures)
    assert isinstance(finder.find, NetworkFinder) and finder.find.calibration.per["mirrored"] > 0


@pytest.mark.parametrize(("cores", "threads"), [(2, 1), (1, 1), (64, 3)])
def test_network_leaves_a_core_to_others(
    installed: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr("os.cpu_count", lambda: cores)
        finders.choose_finder("network")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_default_can_be_set_for_a_site(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(finders.ENVIRONMENT, "network")
    assert finders.choose_finder().about["source"] == "network"
    assert finders.choose_finder("classical") is finders.CLASSICAL
    monkeypatch.setenv(finders.ENVIRONMENT, "")
    assert finders.chosen(None) == finders.DEFAULT
    monkeypatch.setenv(finders.ENVIRONMENT, "by hand")
    with pytest.raises(MethodError, match="by hand"):
        finders.choose_finder()


def test_layout_is_read_off_the_weights(installed: Path) -> None:
    found = finder_of_weights(installed / FILE)
    loaded = finders.choose_finder("network").find
    assert isinstance(loaded, NetworkFinder)
    block = torch.randn(1, 1, EDGE, EDGE, EDGE) * 300
    with torch.no_grad():
        assert torch.equal(found.network(block), loaded.network(block))
    save_file({"other": np.zeros(3, dtype=np.float32)}, installed / "foreign.safetensors")
    with pytest.raises(MethodError, match="no weights"):
        finder_of_weights(installed / "foreign.safetensors")
    (installed / "other.safetensors").write_bytes((installed / FILE).read_bytes()[:-4])
    with pytest.raises(MethodError):
        finder_of_weights(installed / "other.safetensors")
