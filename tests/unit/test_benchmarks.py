"""The benchmarks refer to names that exist; they are too slow to run in the tests."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_imported_names_exist(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        if node.module.partition(".")[0] == "shapesweep":
            for name in node.names:
                pkgutil.resolve_name(f"{node.module}.{name.name}")


def test_timed_functions_exist(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    cost = importlib.import_module("cost")
    for path in cost.STAGES.values():
        assert callable(pkgutil.resolve_name(f"shapesweep.{path}"))
