"""`check-registry` records the outcome of each suite, and reports failures in one line."""

import json
import re
from datetime import date

import pytest

from helpers.agreeing import DEFINITION, agreeing_hub, model
from shapesweep import cli
from shapesweep.config import checked, registry
from shapesweep.hub import registry_check
from shapesweep.hub.errors import UnreachableError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with agreeing_hub(monkeypatch, tmp_path / "cache") as standin:
        yield standin


@pytest.fixture
def suites(monkeypatch, tmp_path):
    """A registry with the suite `one`."""
    folder = tmp_path / "suites"
    folder.mkdir()
    monkeypatch.setattr(registry, "REGISTRY", folder)
    monkeypatch.setattr(checked, "CHECKED", folder / "checked.json")
    add(folder, "one")
    return folder


def add(folder, name, **more):
    (folder / f"{name}.yaml").write_text(json.dumps(DEFINITION | more), encoding="utf-8")


def test_command_prints_a_table_and_records_date_and_outcome(hub, suites, capsys):
    assert cli.main(["check-registry"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].split() == [
        *("suite", "repository", "or", "run", "what", "registry", "Hub", "verdict")
    ]
    (counted,) = re.findall(r"^one: agrees \((\d+) requests\)$", "\n".join(output), re.MULTILINE)
    assert len(hub.asked) == 10
    assert int(counted) == len(hub.asked) + hub.n_own
    assert output[-1] == (
        f"suites: 1 agree, 0 differ, 0 not reached; {counted} requests to the Hub"
    )
    record = json.loads((suites / "checked.json").read_bytes())
    assert record == {
        "one": {"date": date.today().isoformat(), "outcome": "agrees", "differences": []}
    }


def test_command_records_differences_and_keeps_other_entries(hub, suites, capsys, tmp_path):
    out = tmp_path / "record.json"
    kept = {"other": {"date": "2026-01-02", "outcome": "differs", "differences": []}}
    kept["other"]["differences"] = [{"where": "x", "what": "y", "registry": "z", "hub": "w"}]
    old = {"one": {"date": "2026-01-02", "outcome": "agrees", "differences": []}}
    out.write_text(json.dumps(kept | old), encoding="utf-8")
    add(suites, "two", license="apache-2.0")
    assert cli.main(["check-registry", "one", "--out", str(out)]) == 0
    assert checked.read(out)["one"].date == date.today()
    assert cli.main(["check-registry", "two", "--out", str(out)]) == 1
    assert "two: differs" in capsys.readouterr().out
    record = json.loads(out.read_bytes())
    assert list(record) == ["one", "other", "two"]
    assert record["other"] == kept["other"]
    assert record["two"]["outcome"] == "differs"
    assert record["two"]["differences"] == [
        {"where": "org/a and 1 more", "what": "license", "registry": "apache-2.0", "hub": "mit"}
    ]
    assert not (suites / "checked.json").exists()


def test_suite_with_a_repository_that_fails_is_not_reached(hub, suites, capsys):
    hub.broken = {"/api/models/org/a/refs": 507}
    assert cli.main(["check-registry"]) == 1
    assert "1 not reached" in capsys.readouterr().out.splitlines()[-1]
    assert checked.read(suites / "checked.json")["one"].outcome == "not reached"


@pytest.mark.parametrize("n_repositories", [1, 9])
def test_hub_that_is_down_gives_one_line(hub, suites, capsys, n_repositories):
    names = [f"org/{number}" for number in range(n_repositories)]
    add(suites, "one", repositories=names)
    add(suites, "two")
    earlier = checked.Check(date=date(2026, 1, 2), outcome="agrees")
    checked.update(suites / "checked.json", {"two": earlier})
    hub.scripted = lambda: ("507", {})
    assert cli.main(["check-registry", "one"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("shapesweep")]
    assert len(lines) == 1
    assert "failed in all 8 attempts (HTTP 507); run again later" in lines[0]
    record = checked.read(suites / "checked.json")
    assert record["one"].outcome == "not reached"
    assert record["two"] == earlier


def test_check_stops_if_the_hub_goes_down_on_the_way(hub, suites):
    add(suites, "two", repositories=[f"org/{number}" for number in range(9)])
    add(suites, "zero")
    results = registry_check.check(registry.published(), 2, suites / "checked.json")
    assert next(results).suite == "one"
    hub.scripted = lambda: ("507", {})
    with pytest.raises(UnreachableError):
        list(results)
    outcomes = {
        name: entry.outcome for name, entry in checked.read(suites / "checked.json").items()
    }
    assert outcomes == {"one": "agrees", "two": "not reached"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["oen"], "oen: there is no such suite; did you mean one?"),
        (["local"], "local: this suite names no repositories on the Hub"),
    ],
)
def test_wrong_name_gives_one_line_and_status_2(suites, capsys, arguments, message):
    text = json.dumps({"source": "local", "runs": {"r": "x"}})
    (suites / "local.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["check-registry", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"shapesweep: error: {message}\n"
    assert captured.out == ""


def test_damaged_record_is_reported_before_the_hub_is_asked(hub, suites, capsys):
    (suites / "checked.json").write_text('{"one": {"date": 3}}', encoding="utf-8")
    assert cli.main(["check-registry"]) == 2
    assert "checked.json: damaged; restore or remove it" in capsys.readouterr().err
    assert not hub.asked


def test_texts_of_the_hub_cannot_control_the_terminal(hub, suites, capsys):
    hub.add("org/a", "evil\x1b[2J", model())
    assert cli.main(["check-registry"]) == 1
    assert "\x1b" not in capsys.readouterr().out
