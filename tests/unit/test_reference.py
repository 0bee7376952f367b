"""The reference of the suites shows the last check of each suite, and facts from memory."""

import importlib.util
import json
from datetime import date
from pathlib import Path

import pytest

from shapesweep.config import checked, registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def generate(monkeypatch, tmp_path):
    """The script `docs/generate.py`, with a registry of two suites."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    facts = [
        {"about": "size", "says": "1\n B", "source": "-", "verified": "recalled"},
        {"about": "names", "says": "step", "source": "card", "verified": "read"},
    ]
    for name in ("one", "two"):
        suite = {"source": "hub", "mode": "branches", "match": "step", "repositories": ["org/a"]}
        text = json.dumps({**suite, "title": "A title\n of two lines.", "facts": facts})
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "REGISTRY", tmp_path)
    # `command` sets these variables.
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    return module


def test_suite_without_a_check_was_never_checked(generate):
    assert "| `one` | A title of two lines | branches | never |\n" in generate.suites()


def test_last_check_is_shown_without_texts_of_the_hub(generate, tmp_path):
    difference = {"where": "org/a", "what": "license", "registry": "mit", "hub": "<script>"}
    differs = checked.Check.model_validate(
        {"date": date(2026, 1, 2), "outcome": "differs", "differences": [difference]}
    )
    agrees = checked.Check.model_validate({"date": date(2026, 3, 4), "outcome": "agrees"})
    checked.update(tmp_path / "checked.json", {"one": differs, "two": agrees})
    table = generate.suites()
    assert "| 2026-01-02, **differs**: license (org/a) |\n" in table
    assert "| 2026-03-04 |\n" in table
    assert "script" not in table


def test_facts_from_memory_are_listed_and_no_others(generate):
    assert generate.recalled().strip().splitlines()[2:] == [
        "| `one` | size | 1 B |",
        "| `two` | size | 1 B |",
    ]


def test_readme_counts_the_suites_that_can_be_measured():
    n_suites = len(registry.published())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{n_suites} published suites](docs/reference/suites.md)" in text


def test_every_command_is_in_the_reference(generate):
    reference = generate.command()
    for name in ("check-registry", "activations", "measure"):
        assert f"## `shapesweep {name}`" in reference
