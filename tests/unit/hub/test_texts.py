"""Texts are fetched once, and are verified before they are used."""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub.utils.sha import git_hash

from shapesweep import cli
from shapesweep.corpora import _sources, read_text, text_sha256
from shapesweep.errors import ShapesweepError
from shapesweep.hub import client, texts

TEXT = "Grüße aus Wikipedia.\r\n" * 999
PATH = "/owner/repository/raw/abc/text.txt"


@pytest.fixture
def standin(standin, no_waits, monkeypatch, tmp_path):
    """A stand-in for the Hub and for GitHub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setenv(texts.MIRROR, f"{standin.url}/")
    return standin


@pytest.fixture
def named(standin, monkeypatch, tmp_path):
    """The registry of texts, with a text `mine` that the stand-in serves."""
    content = TEXT.encode()
    definition = {
        **{"title": "A text", "language": "German", "license": "none", "blob": git_hash(content)},
        "urls": [f"{texts.GITHUB}{PATH}", f"{texts.GITHUB}/owner/repository/raw/main/text.txt"],
    }
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "mine.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    monkeypatch.setattr(_sources, "REGISTRY", folder)
    _sources.named_texts.cache_clear()
    standin.web[PATH] = content
    yield "mine"
    _sources.named_texts.cache_clear()


@pytest.fixture
def publish(standin):
    """A function that publishes a data set, and returns the name of its column `text`."""

    def publish(column, name="text"):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": range(len(column)), name: column}), buffer)
        files = {"data/part 0.parquet": buffer.getvalue()}
        commit = standin.add("datasets/org/texts", "main", files)
        return f"hf://datasets/org/texts@{commit}/data/part 0.parquet#text"

    return publish


def fetched(text, folder):
    """Fetch a text, and return its contents and its digest as a job reads them."""
    copy = folder / str(_sources.fetched_file(text))
    line = texts.fetch(text, copy)
    assert line.endswith(f"sha256 {hashlib.sha256(copy.read_bytes()).hexdigest()}")
    return read_text(text, folder), text_sha256(text, folder)


def test_named_text_is_fetched_once(named, standin, tmp_path):
    content, digest = fetched(named, tmp_path)
    assert content == TEXT.replace("\r\n", "\n")
    assert digest == hashlib.sha256(TEXT.encode()).hexdigest()
    standin.asked = []
    assert fetched(named, tmp_path / "another sweep")[1] == digest
    assert standin.asked == []


def test_text_whose_source_has_changed_is_refused(named, standin, tmp_path):
    standin.web[PATH] = TEXT.encode()[:-1] + b"."
    with pytest.raises(ShapesweepError, match=r"is not this text: its git blob id is [0-9a-f]{40}"):
        texts.fetch(named, tmp_path / "copy.txt")
    assert not (tmp_path / "copy.txt").exists()
    # The second address has the right text.
    standin.web["/owner/repository/raw/main/text.txt"] = TEXT.encode()
    assert fetched(named, tmp_path)


def test_text_that_is_damaged_in_the_cache_is_fetched_again(named, standin, tmp_path):
    _, digest = fetched(named, tmp_path)
    (cached,) = (tmp_path / "assets").rglob("mine-*.txt")
    cached.write_bytes(TEXT.encode()[:-1] + b".")
    assert fetched(named, tmp_path)[1] == digest
    assert cached.read_bytes() == TEXT.encode()


def test_text_that_was_changed_after_it_was_verified_is_refused(named, tmp_path):
    fetched(named, tmp_path)
    copy = tmp_path / str(_sources.fetched_file(named))
    for change in (
        lambda: copy.write_bytes(copy.read_bytes()[1:]),
        copy.with_suffix(".sha256").unlink,
    ):
        change()
        with pytest.raises(ShapesweepError, match="differs from the text that was fetched and ver"):
            text_sha256(named, tmp_path)


def test_machine_without_a_network_says_which_command_to_run(named, standin, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert cli.main(["text", named]) == 2
    error = capsys.readouterr().err
    assert "cannot fetch mine" in error
    assert "run `shapesweep text mine` on a machine that has one, with the same HF_HOME" in error
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    monkeypatch.setenv(texts.MIRROR, "http://127.0.0.1:9")
    assert cli.main(["text", named]) == 2
    assert "If this machine has no network, run `shapesweep text mine`" in capsys.readouterr().err
    monkeypatch.setenv(texts.MIRROR, standin.url)
    assert cli.main(["text", named]) == 0
    assert "assets/shapesweep/texts/default/mine-" in capsys.readouterr().out


def test_column_of_a_data_set_is_a_text(publish, standin, tmp_path):
    text = publish(["one", None, "", "two\nlines"])
    assert fetched(text, tmp_path)[0] == "one\n\ntwo\nlines\n\n"
    standin.asked = []
    assert fetched(text, tmp_path / "another sweep")
    assert standin.asked == []


def test_column_of_repeated_texts_is_a_text(publish, tmp_path):
    column = pa.array(["one", "two", "one"]).dictionary_encode()
    assert fetched(publish(column), tmp_path)[0] == "one\n\ntwo\n\none\n\n"


def test_long_column_is_cut(publish, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "CHARACTERS", 7)
    assert fetched(publish(["four", "fives", "six"]), tmp_path)[0] == "four\n\nfiv\n\n"


def test_damaged_data_set_is_refused(publish, standin, tmp_path):
    text = publish(["a", "b"])
    standin.spoilt["data/part 0.parquet"] = lambda content: content[:-1] + b"?"
    with pytest.raises(ShapesweepError, match="arrived damaged"):
        texts.fetch(text, tmp_path / "copy.txt")
    standin.spoilt.clear()
    assert fetched(text, tmp_path)


@pytest.mark.parametrize(
    ("column", "name", "message"),
    [
        (["a"], "texts", r"there is no column text; did you mean texts\?"),
        ([1.5], "text", "the column text has double instead of text"),
        (pa.array([None, ""], pa.string()), "text", "the column text contains no text"),
        (pa.array([b"\xff"]).cast(pa.string(), safe=False), "text", "damaged"),
    ],
)
def test_column_without_text_is_refused(publish, tmp_path, column, name, message):
    with pytest.raises(ShapesweepError, match=f"org/texts, data/part 0.parquet: {message}"):
        texts.fetch(publish(column, name), tmp_path / "copy.txt")


def test_absent_data_sets_and_files_are_refused(publish, tmp_path):
    text = publish(["a"])
    for wrong, message in (
        (text.replace("part 0", "part 1"), "has no file data/part 1.parquet"),
        (text.replace("org/texts", "org/other"), "no such repository, or it is private"),
        ("stdlib", "stdlib: is neither a named text nor a data set on the Hub"),
        ("papre", r"is neither a named text nor a data set on the Hub; did you mean paper\?"),
        (text.replace("@", "@main/"), "must have 40 hexadecimal digits"),
    ):
        with pytest.raises(ShapesweepError, match=message):
            texts.fetch(wrong, tmp_path / "copy.txt")


def test_the_papers_text_is_pinned():
    paper = _sources.named_texts()["paper"]
    assert paper.language == "English"
    assert all(url.startswith(texts.GITHUB) for url in paper.urls)
    assert _sources.fetched_file("paper") == "paper-2d7f6fd67291.txt"
