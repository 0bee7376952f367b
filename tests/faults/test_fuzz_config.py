"""A damaged configuration is either accepted, or refused in one line with the file and the key."""

import contextlib
import copy
import datetime
import functools
import io
import operator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plans import paths
from shapesweep import cli
from shapesweep.config import files
from shapesweep.config.sweep import Config
from shapesweep.errors import LONGEST, ShapesweepError

LOCAL = {
    "source": "local",
    "runs": {"one": "x", "two": {"path": "y", "seed": 3}},
    "pattern": r"step(?P<step>\d+)",
    "tokens_per_step": 5,
}
REGISTRY = ("bloom", "embedded", "multiberts", "olmo2", "paper", "pythia")
HOSTILE = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2**63, -(10**30), 10**400, 1.5),
        *(float("nan"), float("inf"), -float("inf")),
        *("", "x", "a\nb", "\0", "\x1b[31m", "x" * 5000, "\u202eabc", "\ud800", "ä ö", "{a}"),
        *("-rf", "$(touch x)", "`x`", "'; x", '"', "../../etc/passwd", "/etc", "CON", "*", "("),
        *("\\", "org/{0..999999999}", "0..999999999999 by 1", "(?P<step>x)", "a" * 300),
        *([], [[]], [[[[[]]]]], [1, "a", None], {}, {"a": {}}, {1: 2}, {None: 1}, {"a\nb": 1}),
        *(b"bytes", datetime.date(2020, 1, 1), {"source": "hub"}, {"source": []}, {"every": "x"}),
    ]
)
VALUES = (
    HOSTILE | st.text(max_size=30) | st.integers() | st.floats() | st.lists(HOSTILE, max_size=3)
)
KEYS = [None, True, 7, "", "a\nb", "\0", "\u202e", "x" * 2000, "hub", "local", "Log"]


def load(path):
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


#: Valid configurations: two files of config/, each suite of the registry, and a local suite.
VALID = (
    *(load(f"config/{name}.yaml") for name in ("config", "paper")),
    *({"suites": {name: load(f"workflow/shapesweep/suites/{name}.yaml")}} for name in REGISTRY),
    {"suites": {"mine": LOCAL}},
)


@st.composite
def damaged(draw, valid=VALID):
    """Draw a valid configuration, and then change a value, add a key or remove a key."""
    raw = copy.deepcopy(draw(st.sampled_from(valid)))
    *parents, last = draw(st.sampled_from(list(paths(raw))))
    container = functools.reduce(operator.getitem, parents, raw)
    kind = draw(st.sampled_from(["set", "add", "remove"]))
    if kind == "remove":
        del container[last]
    elif kind == "add" and isinstance(container, dict):
        container[draw(st.sampled_from(KEYS))] = draw(VALUES)
    else:
        container[last] = draw(VALUES)
    return raw


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "sweep.yaml"


def assert_is_one_line(message):
    assert message.isprintable()
    assert len(message) <= LONGEST + 9


@settings(max_examples=200, deadline=None)
@given(raw=damaged())
def test_errors_of_damaged_configurations_name_file_and_key(path, raw):
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    try:
        files.load(path)
    except ShapesweepError as error:
        message = str(error)
        assert_is_one_line(message)
        # The middle of a long message is left out, and so may be the end of a long key.
        file, key, *reason = message.split(": ", 2)
        assert file == str(path)
        assert reason or " … " in message
        first = key.partition(".")[0]
        known = {*Config.model_fields, *(printed(name) for name in raw)}
        assert first in known or " … " in message


def printed(name):
    return str(ShapesweepError(str(name).partition(".")[0]))


@settings(max_examples=100, deadline=None)
@given(raw=damaged(valid=({"suites": {"mine": LOCAL}, "results": "results"},)))
def test_the_command_prints_one_line_and_writes_nothing(path, raw):
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    stderr = io.StringIO()
    with contextlib.chdir(path.parent), contextlib.redirect_stderr(stderr):
        status = cli.main(["manifests", "--config", str(path), "--results", "results"])
    assert status == 2
    head, message = stderr.getvalue().split("error: ", 1)
    assert head == "shapesweep: "
    assert message.endswith("\n")
    assert_is_one_line(message[:-1])
    assert list(path.parent.iterdir()) == [path]


FILES = {
    "empty": b"",
    "invalid UTF-8": b"\xff\xfe\x00a",
    "a tab": b"a:\n\tb: 1",
    "code": b'!!python/object/apply:os.system ["touch code-has-run"]',
    "code in a key": b'suites: !!python/object/apply:os.system ["touch code-has-run"]',
    "an invalid date": b"results: 2020-13-45\nsuites: [mine]",
    "an invalid number": b"batch_tokens: !!int x",
    "a number of 5,000 digits": b"batch_tokens: " + b"9" * 5000,
    "brackets that are not closed": b"[" * 20_000,
    "a recursive list": b"a: &a [*a]",
    "a recursive model": b"suites: {e: {source: embedded, steps: [1], runs: {r: &m {model: *m}}}}",
    "aliases that expand exponentially": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    )
    + b"suites: *j",
    "two documents": b"a: 1\n---\nb: 2",
    "a list as a key": b"? [1, 2]\n: 3",
    "a very long key": b"a" * 100_000 + b": 1",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_errors_name_files_that_cannot_be_used(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_bytes(content)
    with pytest.raises(ShapesweepError) as caught:
        files.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert_is_one_line(str(caught.value))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_instead_of_a_file_is_an_error(tmp_path):
    with pytest.raises(ShapesweepError, match=f"^{tmp_path}: is a directory$"):
        files.load(tmp_path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"hub": 3}, "hub: found 3; write keys and values"),
        ({"hub": {"downloads": 0}}, "hub.downloads: found 0; write a number of at least 1"),
        ({"hub": {"disk_gb": float("inf")}}, "hub.disk_gb: found inf; "),
        (
            {"suites": {"local": {**LOCAL, "pattern": "("}}},
            "suites.local.pattern: found '('; this is",
        ),
        ({"suites": {"s": {**LOCAL, "runs": {"hub": 4}}}}, "suites.s.runs.hub: found 4; write"),
        ({"suites": {None: None}}, "suites.None: there is no "),
        ({"batch_tokens": 2**63}, "batch_tokens: found 9223372036854775808; write a number of at "),
        ({"checkpoints": {"log": 10**9}}, "checkpoints.log: found 1000000000; write a number of"),
        ({"budget": {"checkpoints": {"x": "last"}}}, "budget.checkpoints.x: there is no such suit"),
        ({"suites": {"paper": {"seed": "("}}}, "suites.paper.seed: found '('; this is not a valid"),
        ({"suites": {"paper": {"seed": "x"}}}, "suites.paper.seed: found 'x'; needs a group"),
        ({"suites": {"paper": {"ignored_weights": ["("]}}}, "suites.paper.ignored_weights.0: fou"),
        ({"suites": {"paper": {"grid": ["0..9999999 by 1"]}}}, "suites.paper.grid: found ['0.."),
        (
            {"suites": {"paper": {"repositories": ["a/{0..999}{0..999}"]}}},
            "suites.paper.repositories.0: found 'a/{0..999}{0..999}'; the pattern matches more",
        ),
        ({"results": "-rf"}, "results: found '-rf'; the path must be printable"),
        ({"results": "a\nb"}, r"results: found 'a\nb'; the path must be printable"),
    ],
)
def test_errors_that_fuzzing_found_name_the_key(raw, message):
    with pytest.raises(ShapesweepError) as caught:
        files.validate({"suites": ["embedded"], **raw})
    assert str(caught.value).startswith(message)
