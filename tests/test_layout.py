"""Who may import whom: arrows point down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("echocli/*.py"), *ROOT.glob("echocli/[!m]*/**/*.py")])
CORE = sorted(ROOT.glob("models/**/*.py"))

LAYERS = [
    {"errors", "files", "locks", "cgroups"},
    {"datasets", "phantoms", "intake", "privacy", "clips"}
    | {"splits", "config", "console", "device", "study"},
    {
        "reports",
        "statistics",
        "run",
        "distributed",
        "slurm",
        "checkpoint",
        "states",
        "tables",
        "table_formats",
        "table_safetensors",
        "trackers",
    },
    {"api"},
    {"commands", "main", "__main__"},
]
CORE_LAYERS = [
    {"checks", "shapes", "team"},
    {"vit", "layers", "attention", "products", "positions", "pooling", "timm_guard", "weights"},
    {"heads", "losses", "masking", "ema", "augment", "sector", "folds", "attentive", "finetune"}
    | {"predictor", "localisation", "block_masks", "optim", "schedules", "neighbours"}
    | {"clusters", "distillation", "fidelity", "readout", "logistic", "dense"}
    | {"scan_lines", "perturb"},
    {"methods"},
    {"training", "spreading", "health", "collapse", "tasks", "work", "memory"},
]
FOREIGN_TO_CORE = {"pandas", "pydicom", "av", "typer", "rich", "pathlib", "echocli", "logging"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, relative ones made absolute."""
    package = ("echocli", *path.relative_to(ROOT).parts[:-1])
    if path.is_relative_to(ROOT / "echocli"):
        package = package[1:]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(name: str, inside: str) -> str | None:
    """Return the first part of a dotted name after ``inside``, or None."""
    return name.removeprefix(inside).split(".")[0] if name.startswith(inside) else None


def layer_of(name: str, layers: list[set[str]]) -> int | None:
    return next((height for height, names in enumerate(layers) if name in names), None)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(ROOT / "echocli").parts[0].removesuffix(".py")
    height = layer_of(own, LAYERS)
    assert height is not None or own == "__init__", f"{own} has no layer"
    for name in imported_names(path):
        other = room(name, "echocli.")
        below = layer_of(other, LAYERS) if other else None
        if below is not None and other != own and height is not None:
            assert below <= height, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_knows_tensors_only(path: Path) -> None:
    own = path.relative_to(ROOT / "models").parts[0].removesuffix(".py")
    height = layer_of(own, CORE_LAYERS)
    assert height is not None or own == "__init__", f"{own} has no layer"
    for name in imported_names(path):
        other = room(name, "echocli.models.")
        if other is None:
            assert name.split(".")[0] not in FOREIGN_TO_CORE or name == "echocli.models", name
        elif other != own and height is not None and layer_of(other, CORE_LAYERS) is not None:
            assert layer_of(other, CORE_LAYERS) <= height, f"{path.name} imports {name}"
    calls = {n.func.id for n in ast.walk(tree_of(path)) if is_plain_call(n)}
    assert calls.isdisjoint({"open", "print"})


def is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize(
    ("folder", "inside"),
    [
        ("models/methods", "echocli.models.methods."),
        ("models/weights", "echocli.models.weights."),
        ("echocli/commands", "echocli.commands."),
        ("echocli/trackers", "echocli.trackers."),
    ],
)
def test_neighbours_do_not_import_each_other(folder: str, inside: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        others = {room(name, inside) for name in imported_names(path)} - {None, path.stem}
        assert all(o == "base" or o.startswith("_") for o in others if o), (path.name, others)


def test_tasks_see_an_encoder_never_a_method() -> None:
    for path in (ROOT / "models/tasks").glob("*.py"):
        assert not any(n.startswith("echocli.models.methods") for n in imported_names(path))
