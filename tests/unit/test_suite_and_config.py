"""Configuration and suites: what is wrong is said in one line that names the key."""

import pytest
import yaml

from shapesweep import config
from shapesweep.errors import ShapesweepError

LOCAL = {"source": "local", "runs": {"mine": "some/folder"}}


def test_six_lines_are_a_sweep():
    made = config.validate({"suites": {"mine": LOCAL}})
    assert made.suites["mine"].runs["mine"].path == "some/folder"
    assert made.corpora == ["text", "random", "shuffled"]
    assert made.geometry.n_points == 4096


def test_a_named_suite_is_read_from_the_registry(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(LOCAL), encoding="utf-8")
    assert config.validate({"suites": ["mine"]}, tmp_path).suites["mine"].source == "local"
    with pytest.raises(ShapesweepError, match=r"'yours' is not a suite.*known are mine"):
        config.validate({"suites": ["yours"]}, tmp_path)


def test_the_embedded_suite_is_valid():
    suite = config.validate({"suites": ["embedded"]}, "config/suites").suites["embedded"]
    assert set(suite.runs) == {"decoder", "encoder"}
    assert {0, 1, 2, 4, 512} <= set(suite.steps)


def test_written_and_read_back_it_is_the_same(tmp_path):
    made = config.validate({"suites": {"mine": LOCAL}, "checkpoints": {"every": 3}})
    config.dump(made, tmp_path / "config.yaml")
    assert config.load(tmp_path / "config.yaml") == made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"suites": []}, "suites: name at least one suite"),
        ({"suites": ["../../etc/passwd"]}, "is not a suite"),
        ({"suites": {"a/b": LOCAL}}, "suites"),
        ({"suites": {"mine": {**LOCAL, "pattern": "step.*"}}}, "pattern: needs a group named step"),
        ({"suites": {"mine": {**LOCAL, "pattern": "("}}}, "pattern: is no regular expression"),
        ({"suites": {"mine": {"source": "local"}}}, "runs: this key is required"),
        ({"suites": {"mine": {"source": "moon"}}}, "'local'"),
        ({"suites": {"mine": {"source": "hub"}}}, "cannot fetch"),
        ({"corpora": ["text", "texts"]}, "corpora.1: "),
        ({"corpora": []}, "corpora: needs at least one"),
        ({"corpus": {"lenght": 64}}, "corpus.lenght: there is no such key"),
        ({"corpus": {"length": "long"}}, "corpus.length: .*found 'long'"),
        ({"results": ""}, "results: "),
        ({"results": "{run}"}, "results: must not contain braces"),
        ({"geometry": {"n_points": -1}}, "geometry.n_points: .*found -1"),
        ({"checkpoints": {"every": 0}}, "checkpoints.every: .*found 0"),
        ({"checkpoint": "all"}, "checkpoint: there is no such key"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, said):
    with pytest.raises(ShapesweepError, match=said) as caught:
        config.validate({"suites": {"mine": LOCAL}, **change}, "config/suites", "my.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_file_that_is_no_configuration_is_named(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"bad\.yaml: "):
        config.load(tmp_path / "bad.yaml")
