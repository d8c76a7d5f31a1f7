"""The scripts of published tables run on phantoms in the data sets' own layouts."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake.echonet_dynamic
import pytest
import torch
from micro import MICRO

from echocli.api.pretrain import Choice
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.datasets.phantom import PhantomConfig, draw_patient
from echocli.models.finetune import FitConfig
from echocli.models.tasks.segmentation import SegmentationConfig
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.phantoms.archives import write_camus

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = FitConfig(epochs=1, least_steps=2, checks=1)
FRACTIONS = [("TRAIN", 62.0), ("TRAIN", 35.0), ("VAL", 60.0), ("TEST", 58.0), ("TEST", 30.0)]
VIDEOS = (*FRACTIONS, *((split, ef - 3) for split, ef in FRACTIONS * 3))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Phantoms as EchoNet-Dynamic and as CAMUS, and a random encoder."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake.echonet_dynamic, "ROWS", VIDEOS)
        echonet = fake.echonet_dynamic.write(root).root
    camus = root / "CAMUS_public"
    hearts = [draw_patient(5, index, PhantomConfig(difficulty="easy")) for index in range(5)]
    write_camus(camus, hearts, height=72, width=64)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=2, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    for name, seconds in (("model", 0.4), ("long", 1.0)):  # CAMUS' half beats are shorter
        data = DataConfig(frames=4, size=32, seconds=seconds)
        save_model(root / name, encoder, data, "discovr", {"clip_size": 32})
    return SimpleNamespace(echonet=echonet, camus=camus, model=root / "model", root=root)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, folders: SimpleNamespace) -> Callable[..., Any]:
    """Return what runs a script on a data set and gives its rows."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(folders.root / "pseudonym.key"))
    from _tables import Place

    def run(name: str, data: Path, *, model: Path | None, **more: Any) -> dict[str, Any]:
        place = Place(
            data=data,
            out=folders.root / f"study-{data.name}",
            model=model,
            choice=Choice(method="vjepa", steps=2, changes=MICRO),
            size=32,
        )
        rows = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](place, **more)
        return {row.what: row for row in rows}

    return run


def number(words: str) -> float:
    return float(words.split()[0])


def test_tables_of_normal_and_abnormal(
    example: Callable[..., Any], folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = example("discovr_zero_shot", folders.echonet, model=folders.model)
    assert rows["macro-F1, %"].theirs == "61.45"
    assert rows["balanced accuracy, %"].theirs == "63.20"
    for name in ("macro-F1, %", "balanced accuracy, %"):
        assert 0 <= number(rows[name].ours) <= 100
    assert 0 <= number(rows["AUROC of the distance from normals"].ours) <= 1
    printed = capsys.readouterr().out
    assert "not of one protocol" in printed
    assert "read the paper" in printed

    rows = example("discovr_linear_probe", folders.echonet, model=folders.model)
    assert rows["macro-F1, %"].theirs == "77.63"
    assert 0 <= number(rows["macro-F1, %"].ours) <= 100
    assert 0 <= number(rows["balanced accuracy, %"].ours) <= 100


def test_table_of_ejection_fraction(
    example: Callable[..., Any], folders: SimpleNamespace
) -> None:
    rows = example("discovr_lvef", folders.echonet, model=folders.model, blocks=1, fit=SHORT)
    assert rows["linear probe, error in points"].theirs == "7.79"
    assert rows["last 1 blocks trained"].theirs == "6.32"
    # EF of the test clips is about 55 or 27, of the others about 56 on average.
    assert number(rows["always the mean"].ours) == pytest.approx(14, abs=6)
    assert 0 < number(rows["last 1 blocks trained"].ours) < 60


def test_tables_of_outlines(
    example: Callable[..., Any], folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = example(
        "discovr_camus",
        folders.camus,
        model=folders.root / "long",
        head=SegmentationConfig(steps=5),
    )
    assert rows["left_atrium"].theirs == "0.90"
    structures = ("lv_cavity", "lv_myocardium", "left_atrium")
    mean = sum(number(rows[name].ours) for name in structures) / 3
    assert number(rows["mean of the structures"].ours) == pytest.approx(mean, abs=1e-3)
    assert "frames of 1 patients" in capsys.readouterr().out

    few = {"blocks": 0, "fit": SHORT}
    rows = example("ellis_lambda", folders.camus, model=None, lambdas=(0.25, 1.0), **few)
    assert [row.theirs for row in rows.values()] == [".754", "not known", "none"]
    *both, mean_map = [number(row.ours) for row in rows.values()]
    assert mean_map > 0.2  # hearts lie alike
    assert all(0 <= dice <= 1 for dice in both)
    runs = folders.root / "study-CAMUS_public" / "runs"
    trained = sorted(path.name for path in runs.iterdir() if path.is_dir())
    assert trained == ["vjepa-0b-lambda-0.25", "vjepa-0b-lambda-1"]

    rows = example("ellis_labels", folders.camus, model=None, fractions=(1.0,), **few)
    row = rows["100 % of the patients"]
    assert row.theirs == "+1.07"
    assert number(row.ours) == pytest.approx(100 * (both[0] - both[1]), abs=0.1)


def test_the_command_line_of_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from _ellis import asked
    from _tables import parser_of, place_of

    typed = ["script", "CAMUS", "--init", "models/vitl16", "--set", "optim.steps=3"]
    monkeypatch.setattr("sys.argv", typed)
    place, blocks = asked("What it does.")
    assert (place.data, place.size, place.model, blocks) == (Path("CAMUS"), 224, None, 12)
    choice = Choice(preset="ellis-vitl-12b", init="models/vitl16", changes=["optim.steps=3"])
    assert place.choice == replace(choice, method="vjepa")
    monkeypatch.setattr("sys.argv", ["script", "CAMUS", "--blocks", "16"])
    assert asked("What it does.")[1] == 16
    monkeypatch.setattr("sys.argv", ["script", "CAMUS", "--model", "runs/mine"])
    with pytest.raises(SystemExit):  # every row would tell of the same encoder
        asked("What it does.")
    monkeypatch.setattr("sys.argv", ["script", "EchoNet", "--model", "runs/mine"])
    place = place_of(parser_of("What it does.", "discovr-paper").parse_args(), where="normal")
    assert (place.encoder(), place.choice.where) == (Path("runs/mine"), "normal")


def test_a_script_that_cannot_go_on_ends_in_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    words = ["script", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit, match=r"error: .*\n  fix: .*"):
        runpy.run_path(str(EXAMPLES / "discovr_lvef.py"), run_name="__main__")


def test_a_figure_without_an_interval_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from _tables import told

    assert told({"value": 0.5, "low": None, "high": None}, 100, 1) == "50.0 (no interval)"
    assert told({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.500 (0.400 to 0.600)"
    assert told(None) == "-"
