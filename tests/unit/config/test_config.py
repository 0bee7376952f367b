"""An error in a configuration or suite is reported in one line that names the key."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from helpers import plans
from shapesweep.config import files, measurement, yaml_file
from shapesweep.config.measurement import Loader
from shapesweep.config.sweep import Config
from shapesweep.errors import ShapesweepError

LOCAL = {"source": "local", "runs": {"mine": "some/folder"}}
MINE = {"suites": {"mine": LOCAL}}
REGISTRY = Path("workflow/shapesweep/suites")


def test_minimal_configuration_has_the_defaults():
    config = files.validate(MINE)
    assert config.suites["mine"].runs["mine"].path == "some/folder"
    assert config.corpora == ["text", "random", "shuffled", "last", "passages"]
    assert config.geometry.n_points == 4096


def test_home_folder_in_results_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert files.validate(MINE | {"results": "~/sweep"}).results == "/home/me/sweep"


def test_named_suite_is_read_from_the_registry(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(LOCAL), encoding="utf-8")
    assert files.validate({"suites": ["mine"]}, tmp_path).suites["mine"].source == "local"
    with pytest.raises(ShapesweepError, match=r"yours\.yaml; choose from mine"):
        files.validate({"suites": ["yours"]}, tmp_path)


def test_the_embedded_suite_is_valid():
    suite = files.validate({"suites": ["embedded"]}, REGISTRY).suites["embedded"]
    assert set(suite.runs) == {"decoder", "encoder"}
    assert {0, 1, 2, 4, 512} <= set(suite.steps)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_configuration_survives_a_round_trip_in_any_locale(tmp_path, monkeypatch, encoding):
    if encoding == "ascii":
        monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ANSI_X3.4-1968")
    local = {**LOCAL, "runs": {"r": "é 日本"}}
    config = files.validate({"suites": {"mine": local}, "checkpoints": {"every": 3}})
    text = files.as_yaml(config)
    assert ("path: é 日本" in text) == (encoding == "utf-8")
    (tmp_path / "config.yaml").write_text(text, encoding)
    assert files.load(tmp_path / "config.yaml") == config


def test_named_suite_is_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(files.validate({"suites": ["embedded"]}).suites) == {"embedded"}


def test_home_and_defined_variables_are_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DISK", "/disk")
    runs = {"a": "~/run", "b": {"path": "$DISK/run", "losses": "${DISK}/loss.csv"}, "c": "$NO/run"}
    hub = {
        "source": "hub",
        "mode": "branches",
        "match": r"step(?P<step>\d+)",
        "repositories": ["org/name"],
        "loss_files": {"name": "~/loss.csv"},
    }
    config = files.validate(
        {
            "suites": {"mine": {"source": "local", "runs": runs}, "hub": hub},
            "results": "~/results",
            "scratch": "$DISK/scratch",
            "corpus": {"text": "~/text.txt", "variants": {"long": {"text": "$DISK/$NO.txt"}}},
        }
    )
    mine, published = config.suites["mine"], config.suites["hub"]
    assert [run.path for run in mine.runs.values()] == ["/home/me/run", "/disk/run", "$NO/run"]
    assert mine.runs["b"].losses == "/disk/loss.csv"
    assert published.loss_files == {"name": "/home/me/loss.csv"}
    assert (config.results, config.scratch) == ("/home/me/results", "/disk/scratch")
    assert config.corpus.texts == ["/home/me/text.txt", "/disk/$NO.txt"]


def test_names_of_texts_are_not_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for text in ("stdlib", "paper", f"hf://datasets/org/name@{'a' * 40}/$HOME.parquet#text"):
        config = files.validate({"suites": {"mine": LOCAL}, "corpus": {"text": text}})
        assert config.corpus.text == text


def test_sweeps_have_different_scratch_folders(tmp_path, monkeypatch):
    assert files.validate(MINE).scratch_folder("results") is None
    config = files.validate({"suites": {"mine": LOCAL}, "scratch": "/scratch/me"})
    first, second = config.scratch_folder(tmp_path / "one"), config.scratch_folder(tmp_path / "two")
    assert first != second
    assert Path(first).parent == Path("/scratch/me")
    # The scratch folder is the same for a relative path to the results and for the absolute path.
    monkeypatch.chdir(tmp_path)
    assert config.scratch_folder("one") == first


HUB = {**plans.HUB, "ignored_weights": ["bias$"], "remote_code": True}


def test_measurement_has_the_settings_that_numbers_depend_on():
    config = files.validate(
        {
            "suites": {"hub": HUB, "mine": LOCAL},
            "corpora": ["text"],
            "corpus": {"documents": 9},
            "geometry": {"n_points": 99},
            "hub": {"remote_code": ["hub"], "disk_gb": 7},
            "device": "cpu",
            "batch_tokens": 11,
        }
    )
    for name in config.suites:
        found = config.measurement(name)
        for key in ("corpora", "corpus", "geometry"):
            assert getattr(found, key) == getattr(config, key)
        assert (found.device, found.batch_tokens) == ("cpu", 11)
    assert config.measurement("hub").loader == Loader(ignored_weights=["bias$"], remote_code=True)
    assert config.measurement("mine").loader == Loader()


def test_settings_file_has_only_what_numbers_depend_on(tmp_path):
    raw = {"suites": {"hub": HUB}, "hub": {"remote_code": ["hub"]}, "corpus": {"text": "é.txt"}}
    expected = files.validate({**raw, "device": "cpu", "batch_tokens": 11}).measurement("hub")
    path = tmp_path / "settings.yaml"
    path.write_text(measurement.as_yaml(expected), encoding="utf-8")
    assert not {"device", "batch_tokens"} & set(yaml_file.read(path))
    assert measurement.load(path, device="cpu", batch_tokens=11) == expected
    assert measurement.load(path).device == "auto"
    other = files.validate({**raw, "device": "cuda"}).measurement("hub")
    assert measurement.as_yaml(other) == measurement.as_yaml(expected)


def test_configuration_file_can_be_used_as_a_settings_file(tmp_path):
    config = files.validate({"suites": {"mine": LOCAL}, "corpora": ["text"], "device": "cpu"})
    (tmp_path / "config.yaml").write_text(files.as_yaml(config), encoding="utf-8")
    assert measurement.load(tmp_path / "config.yaml") == config.measurement("mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpora: []", "corpora: found []; write "),
        ("corpora: [texts]", "corpora.0: found 'texts'; there is no such corpus; did you mean"),
        ("corpora: [text]\ngeometry: {n_point: 3}", "geometry.n_point: there is no such key; did"),
        ("corpora: [text", "not YAML"),
        ("geometry: {}", "corpora: this key is required"),
    ],
)
def test_error_in_a_settings_file_is_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError) as caught:
        measurement.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suites": []}, "suites: found []; name at least one suite"),
        ({"suites": ["embeded"]}, "did you mean embedded?"),
        ({"suites": ["../../etc/passwd"]}, "there is no"),
        ({"suites": {"a/b": LOCAL}}, "suites.a/b: found 'a/b'; write a name of at most 120"),
        ({"suites": {"mine": {**LOCAL, "pattern": "step.*"}}}, "pattern: found 'step.*'; needs a"),
        ({"suites": {"mine": {**LOCAL, "pattern": "("}}}, "is not a valid regular expression"),
        ({"suites": {"mine": {**LOCAL, "patern": "x"}}}, "mine.patern: there is no such key; did"),
        ({"suites": {"mine": {"source": "local"}}}, "suites.mine.runs: this key is required"),
        ({"suites": {"mine": {**LOCAL, "runs": {"r": 4}}}}, "runs.r: found 4; write the text in"),
        ({"suites": {"mine": {"source": "moon"}}}, "mine.source: found 'moon'; write one of emb"),
        ({"suites": {"mine": {"runs": {}}}}, "mine.source: this key is required"),
        ({"suites": {"mine": 3}}, "suites.mine: found 3; write keys and values"),
        ({"corpora": ["text", "texts"]}, "corpora.1: found 'texts'; there is no such corpus; did"),
        ({"corpora": []}, "corpora: found []; name at least one"),
        ({"corpora": "text"}, "corpora: found 'text'; write a list"),
        ({"corpus": {"lenght": 64}}, "corpus.lenght: there is no such key; did you mean length?"),
        ({"corpus": {"length": "long"}}, "corpus.length: found 'long'; write an integer"),
        ({"corpus": {"sampling": "window"}}, "write windows or paper; did you mean windows?"),
        ({"results": ""}, "results: found ''; write at least one character"),
        ({"results": "{run}"}, "results: found '{run}'; the path must not contain braces"),
        ({"results": "a<results>b"}, "'a<results>b'; the path must not contain <results>, which"),
        ({"scratch": "/s<temp>"}, "scratch: found '/s<temp>'; the path must not contain <temp>"),
        ({"results": "./"}, "results: found './'; Snakemake runs in this folder"),
        ({"results": "r" * 300}, "a name in the path is longer than 255 bytes; shorten"),
        ({"results": "a/" * 3000}, "is longer than 4,095 bytes; write a shorter path"),
        ({"corpus": {"text": "é" * 128}}, "a name in the path is longer than 255 bytes"),
        ({"suites": {"mine": {**LOCAL, "runs": {"r": ""}}}}, "mine.runs.r: found ''; write a path"),
        ({"suites": {"mine": {**LOCAL, "runs": {"r": "x" * 256}}}}, "is longer than 255 bytes"),
        ({"scratch": "local"}, "scratch: found 'local'; must be an absolute path"),
        ({"scratch": "/$NO_DISK"}, "scratch: found '/$NO_DISK'; must be an absolute path"),
        ({"geometry": {"n_points": -1}}, "geometry.n_points: found -1; write a number of at least"),
        ({"checkpoints": {"every": 0}}, "checkpoints.every: found 0; write a number of at least 1"),
        ({"checkpoints": {"evry": 2}}, "checkpoints.evry: there is no such key; did you mean ever"),
        ({"checkpoints": "some"}, "checkpoints: found 'some'; write one of all, {every: 4}, {st"),
        ({"keep_activations": "maybe"}, "keep_activations: found 'maybe'; write true or false"),
        ({"device": "gpu"}, "device: found 'gpu'; write auto, cpu or cuda"),
        ({"checkpoint": "all"}, "checkpoint: there is no such key; did you mean checkpoints?"),
        ({"zzz": 1}, "zzz: there is no such key; choose from results, suites, "),
    ],
)
def test_configuration_error_is_one_line_with_a_correction(change, message):
    with pytest.raises(ShapesweepError) as caught:
        files.validate(MINE | change, REGISTRY)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: {0: a}", 'runs.0: found 0; write the text in quotes, such as "0"'),
        ("runs: {1.5: a}", 'found 1.5; write the text in quotes, such as "1.5"'),
        ("runs: {no: a}", 'found False; YAML reads no without quotes as False; write "no"'),
        ("runs: {on: a}", 'found True; YAML reads yes without quotes as True; write "yes"'),
        ("runs: {2024-01-01: a}", 'found 2024-01-01; write the text in quotes, such as "2024-01-0'),
        ("runs: {a: 2024}", 'runs.a: found 2024; write the text in quotes, such as "2024"'),
        ("runs: {a: {path: 0}}", 'runs.a.path: found 0; write the text in quotes, such as "0"'),
        ("runs: {a: }", "mine.runs.a: found None; write a string"),
    ],
)
def test_error_for_a_value_that_yaml_does_not_read_as_text_asks_for_quotes(text, message):
    suite = yaml.safe_load(text) | {"source": "local"}
    with pytest.raises(ShapesweepError) as caught:
        files.validate({"suites": {"mine": suite}})
    assert message in str(caught.value)


def test_error_names_the_file_with_the_wrong_value(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("corpus: {lenght: 3}\ndevice: cpu\n", encoding="utf-8")
    second.write_text("device: gpu\n", encoding="utf-8")
    for change, name in (
        ({"corpus": {"lenght": 3}}, f"{first}: corpus.lenght: "),
        ({"device": "gpu"}, f"{second}: device: "),
        ({"batch_tokens": "few"}, "--config: batch_tokens: "),
        # The file contains the device `gpu`, so the device `tpu` comes from the command line.
        ({"device": "tpu"}, "--config: device: "),
    ):
        with pytest.raises(ShapesweepError) as caught:
            files.validate(MINE | change, files=[first, second])
        assert str(caught.value).startswith(name)


def test_error_names_a_broken_file_of_the_registry(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("source: local\nruns: {a: x}\npatern: y\n", encoding="utf-8")
    with pytest.raises(ShapesweepError, match=rf"{path}: patern: .* did you mean pattern"):
        files.validate({"suites": ["mine"]}, tmp_path)


@pytest.mark.parametrize("text", ["x: 1\nx: 2", "a: {x: 1, y: 2, x: 3}", "a: [{x: 1, x: 1}]"])
def test_error_names_a_duplicate_key(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"bad\.yaml: x: appears twice \(line \d\)"):
        yaml_file.read(path)
    # Snakemake has already read the file without reporting the duplicate key.
    with pytest.raises(ShapesweepError, match=r"bad\.yaml: x: appears twice"):
        files.validate({"suites": ["embedded"]}, REGISTRY, [path])


def test_json_is_read_as_snakemake_reads_it(tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text('{\n\t"checkpoints": "all"\n}', encoding="utf-8")
    assert yaml_file.read(path) == {"checkpoints": "all"}
    path.write_text('{"a": {"x": 1, "x": 2}}', encoding="utf-8")
    with pytest.raises(ShapesweepError, match="x: appears twice"):
        yaml_file.read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c: {1: x, '1': y}", {1: "x", "1": "y"}),
        ("o: {a: &a {x: 1, <<: &b {x: 2, y: 3}}}\nc: {<<: *a, x: 4}", {"x": 4, "y": 3}),
    ],
    ids=["different types", "merged keys"],
)
def test_keys_that_are_no_duplicates_are_read(tmp_path, text, expected):
    path = tmp_path / "good.yaml"
    path.write_text(text, encoding="utf-8")
    assert yaml_file.read(path)["c"] == expected


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_error_names_a_file_that_is_no_configuration(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"bad\.yaml: "):
        files.load(tmp_path / "bad.yaml")


def test_default_configuration_file_has_the_defaults():
    written = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    assert set(written) == set(Config.model_fields)
    suites = {"suites": written.pop("suites")}
    # `spikes.suites` is empty by default, unlike in config.yaml.
    assert written["spikes"].pop("suites") == ["unstable"]
    assert files.validate({**written, **suites}, REGISTRY) == files.validate(suites, REGISTRY)


@pytest.mark.parametrize(
    ("name", "path", "valid", "invalid"),
    [
        (
            *("config", "config/config.yaml"),
            {"suites": {"mine": LOCAL, "embedded": None}, "checkpoints": {"log": 3}},
            {"suites": ["embedded"], "corpora": ["texts"]},
        ),
        ("suite", REGISTRY / "embedded.yaml", LOCAL, {"source": "local"}),
    ],
    ids=["config", "suite"],
)
def test_editor_schema_accepts_valid_and_rejects_invalid_files(name, path, valid, invalid):
    schema = json.loads(Path(f"workflow/schemas/{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for example in (yaml.safe_load(Path(path).read_text(encoding="utf-8")), valid):
        jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(invalid, schema)


def test_suite_of_the_same_name_under_spikes_must_be_equal():
    config = files.validate(MINE | {"spikes": MINE})
    assert config.for_spikes.suites == config.suites
    other = {"suites": {"mine": {"source": "local", "runs": {"r": "b"}}}}
    message = r"^suites\.mine: spikes\.suites has a different suite of this name"
    with pytest.raises(ShapesweepError, match=message):
        files.validate(MINE | {"spikes": other})
