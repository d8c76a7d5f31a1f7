"""Light commands, short files, and a list of packages that is complete."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELL = sorted([*ROOT.glob("echocli/*.py"), *ROOT.glob("echocli/[!m]*/**/*.py")])
CORE = sorted(ROOT.glob("models/**/*.py"))
LIGHT = {
    "typer",
    "echocli",
    "__future__",
    "typing",
    "pathlib",
    "dataclasses",
    "collections",
} | {
    "os",
    "sys",
    "math",
    "enum",
    "contextlib",
    "signal",
    "types",
    "functools",
    "inspect",
    "re",
    "textwrap",
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def roots_of_imports(nodes: list[ast.stmt] | list[ast.AST]) -> set[str]:
    roots = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            roots.update(alias.name.split(".")[0] for alias in node.names)
    return roots


def test_commands_import_only_light_modules_at_their_top() -> None:
    for path in (ROOT / "echocli/commands").glob("*.py"):
        assert roots_of_imports(tree_of(path).body) <= LIGHT, path.name


def test_only_commands_print_exit_or_know_typer() -> None:
    for path in SHELL:
        if path.is_relative_to(ROOT / "echocli/commands") or path.stem in ("main", "console"):
            continue
        nodes = list(ast.walk(tree_of(path)))
        assert "typer" not in roots_of_imports(nodes), path
        calls = {
            n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert calls.isdisjoint({"print", "exit", "quit"}), path


@pytest.mark.parametrize("path", [*SHELL, *CORE], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
    assert path.read_text(encoding="utf-8").isascii()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            start = node.body[1].lineno if has_docstring(node) else node.lineno
            assert node.end_lineno - start < 60, f"{path.name}: {node.name} is too long"


def has_docstring(node: ast.FunctionDef) -> bool:
    return ast.get_docstring(node) is not None and len(node.body) > 1


def test_every_package_is_listed_for_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {p.parent for p in [*SHELL, *CORE] if p.name == "__init__.py"}
    found = {
        ".".join(("echocli", *f.relative_to(ROOT).parts)).removeprefix(
            "echocli." if f.is_relative_to(ROOT / "echocli") else ""
        )
        for f in folders
    }
    assert listed == found
