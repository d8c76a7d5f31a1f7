"""What the documentation says can be run is run: commands in one small study, code, links."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from micro import MICRO

from echocli.datasets.base import Dataset
from echocli.main import run
from echocli.models.vit import ViTConfig

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
PATIENTS, SEED = 15, 1
"""So many, and so drawn that normal and abnormal ones are in every split."""
SMALL = {"--steps": "2"}
"""Options whose values are made small; settings come from the environment."""


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    """Yield the blocks of a page that are of a kind, without their indentation."""
    for indent, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind in kinds:
            yield "\n".join(line.removeprefix(indent) for line in text.splitlines())


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each echocli command of a page's shell blocks."""
    for text in blocks(page, "sh", "console"):
        lines = text.splitlines()
        typed = [line[2:] for line in lines if line.startswith("$ ")]
        for line in typed or lines:
            for part in line.split(" && "):
                words = shlex.split(part.split(" | ")[0], comments=True)
                while words and "=" in words[0]:
                    words.pop(0)
                if words[:1] == ["echocli"]:
                    yield [
                        SMALL.get(before, word) for before, word in itertools.pairwise(words)
                    ]


def enter(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a study, with settings that make everything small."""
    monkeypatch.chdir(study)
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(study.parent / "settings" / "pseudonym.key"))
    for setting in (*MICRO, "encoder.levels=1"):
        key, _, value = setting.partition("=")
        monkeypatch.setenv(f"ECHOCLI_{key.upper().replace('.', '__')}", value)


def run_commands(page: Path) -> None:
    """Run the commands of a page where we are."""
    for words in commands(page):
        with pytest.raises(SystemExit) as stop:
            run(words)
        assert stop.value.code in (0, 4), words


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the study of the tutorial, after its last command."""
    from echocli.datasets.phantom import PhantomConfig, draw_patient, write_dicom_study
    from echocli.phantoms.refusals import write_refusals

    folder = tmp_path_factory.mktemp("docs")
    config = PhantomConfig(seconds=(1.0, 1.2), frame_rates_hz=(20.0, 25.0))
    hearts = [draw_patient(SEED, index, config) for index in range(PATIENTS)]
    write_dicom_study(folder / "echo-demo", hearts, height=180, width=240)
    write_refusals(folder / "echo-demo" / "other", hearts[0], height=180, width=240)
    (folder / "hearts").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        enter(folder / "hearts", monkeypatch)
        run_commands(TUTORIAL)
    return folder / "hearts"


@pytest.fixture
def in_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(study, monkeypatch)


@pytest.mark.parametrize(
    "page", sorted((DOCS / "howto").glob("*.md")), ids=lambda page: page.stem
)
def test_every_command_of_a_guide_runs_after_the_tutorial(page: Path, in_study: None) -> None:
    run_commands(page)


def test_the_tutorial_leaves_what_it_names(study: Path) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    for name in ("clips/quarantine.csv", "clips/audit.html", "scores.csv", "report.html"):
        assert f"`{name}`" in text or f" {name}" in text
        assert (study / name).is_file()
    assert (study / "predictions/segment/volumes.csv").is_file()


def module_of(number: int) -> types.ModuleType:
    """Return a Python block of the page on new parts as a module."""
    code = list(blocks(DOCS / "howto/add-a-part.md", "python"))[number]
    module = types.ModuleType(f"docs_block_{number}")
    sys.modules[module.__name__] = module
    exec(compile(code, module.__name__, "exec", dont_inherit=True), module.__dict__)
    return module


def test_the_method_of_the_page_learns() -> None:
    mine = module_of(0)
    shape = ViTConfig(frames=4, size=16, tubelet=(2, 8, 8), dim=24, depth=1, heads=2)
    generator = torch.Generator().manual_seed(0)
    method = mine.build(shape, mine.Config(), generator)
    video = torch.randn(6, 1, 4, 16, 16, generator=generator)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = method.step(video, generator).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert not any(weight.requires_grad for weight in method.export_encoder().parameters())


def test_the_dataset_of_the_page_lists_its_loops(tmp_path: Path) -> None:
    mine = module_of(1)
    assert not mine.recognise(tmp_path)
    for name in ("mine.txt", "p1_a.avi", "p1_b.avi", "p2_a.avi"):
        (tmp_path / name).touch()
    assert mine.recognise(tmp_path)
    assert [item.patient for item in mine.loops(tmp_path)] == ["p1", "p1", "p2"]
    needed = {*Dataset.__annotations__, "recognise", "loops", "how_split"}
    assert needed <= vars(mine).keys()


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda p: str(p.relative_to(DOCS))
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_notebook_runs(
    study: Path, in_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = json.loads((ROOT / "examples/study.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    monkeypatch.chdir(study.parent)
    (study.parent / "notebook").mkdir()
    (study.parent / "notebook/clips").symlink_to(study / "clips")
    shell = types.ModuleType("notebook")
    for cell in cells:
        code = "".join(cell["source"]).replace('"echo-demo"', '"notebook"')
        code = code.replace("STEPS = 50", "STEPS = 2")
        exec(compile(code, "study.ipynb", "exec", dont_inherit=True), vars(shell))
    assert len(vars(shell)["scored"].table) == len(vars(shell)["clips"])
    assert len(vars(shell)["test"]) > 0
    assert vars(shell)["tokens"].ndim == 3
    vars(shell)["plt"].close("all")
