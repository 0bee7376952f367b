"""Corpora have the same tokens for every checkpoint, and can reproduce the paper's sampling."""

import hashlib
import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest

from shapesweep import corpora
from shapesweep.config import files
from shapesweep.corpora import CorpusConfig, _documents, _text
from shapesweep.errors import ShapesweepError
from shapesweep.storage.selections import DRAWS


def test_documents_have_the_special_tokens_of_their_tokenizer(tokenizers, build_corpora):
    for family, n_prefix, n_suffix in (("decoder", 1, 0), ("encoder", 1, 1)):
        tokenizer = tokenizers[family]
        text = build_corpora(tokenizer)[0]
        assert (text.n_prefix, text.n_suffix) == (n_prefix, n_suffix)
        assert len(text.documents) == 16
        assert {len(document) for document in text.documents} == {24}
        for document in text.documents:
            body = document[n_prefix : 24 - n_suffix]
            assert not set(body) & set(tokenizer.all_special_ids)


def test_documents_are_passages_of_the_text_without_overlap(tokenizers, build_corpora, text_file):
    text = text_file.read_text(encoding="utf-8")
    documents = build_corpora(tokenizers["decoder"])[0].documents
    decoded = [tokenizers["decoder"].decode(document[1:]) for document in documents]
    positions = sorted(text.index(passage) for passage in decoded)
    assert all(b - a >= len(decoded[0]) // 2 for a, b in itertools.pairwise(positions))


def test_runs_with_different_tokenizers_see_the_same_passages(tokenizers, build_corpora):
    starts = []
    for tokenizer in tokenizers.values():
        documents = build_corpora(tokenizer)[0].documents
        starts.append([tokenizer.decode(d, skip_special_tokens=True)[:12] for d in documents])
    assert starts[0] == starts[1]


def test_seed_determines_the_corpora(tokenizers, build_corpora):
    digests = [
        [corpus.digest for corpus in build_corpora(tokenizers["decoder"], seed=seed)]
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


def test_shuffled_has_the_tokens_of_the_text_in_another_order(tokenizers, build_corpora):
    text, _, shuffled = build_corpora(tokenizers["encoder"])
    flat = [np.concatenate([d[1:-1] for d in corpus.documents]) for corpus in (text, shuffled)]
    np.testing.assert_array_equal(np.sort(flat[0]), np.sort(flat[1]))
    assert (flat[0] != flat[1]).mean() > 0.5
    np.testing.assert_array_equal(text.documents[3][[0, -1]], shuffled.documents[3][[0, -1]])


def test_random_draws_uniformly_from_ordinary_tokens(tokenizers, build_corpora):
    tokenizer = tokenizers["decoder"]
    _, drawn, _ = build_corpora(tokenizer, documents=128)
    ordinary = _documents.ordinary_tokens(tokenizer, 300)
    flat = np.concatenate([d[1:] for d in drawn.documents])
    assert set(flat) <= set(ordinary)
    assert not set(ordinary) & set(tokenizer.all_special_ids)
    # In 2,944 draws from 295 tokens, the probability of fewer than 280 distinct tokens is far below
    # 1e-9.
    assert len(set(flat)) > 280


def test_unused_and_padded_entries_are_not_ordinary():
    names = "[CLS] [unused7] <|reserved_special_token_3|> <extra_id_0> bird x"
    vocabulary = {name: i for i, name in enumerate(names.split())}
    tokenizer = SimpleNamespace(
        all_special_ids=(0,), added_tokens_decoder={}, get_vocab=lambda: vocabulary
    )
    assert _documents.ordinary_tokens(tokenizer, 5).tolist() == [4]


def test_sampling_of_the_paper_matches_the_authors_code(tokenizers, build_corpora, text_file):
    text = text_file.read_text(encoding="utf-8")
    random.seed(0)
    starts = random.sample(list(range(len(text) // 512)), 128)
    tokenizer = tokenizers["encoder"]
    expected = [tokenizer(text[j * 512 : j * 512 + 512])["input_ids"] for j in starts]
    (corpus, *_) = build_corpora(tokenizer, sampling="paper", documents=7, length=9, seed=5)
    assert [document.tolist() for document in corpus.documents] == expected
    assert [len(batch) for batch in corpus.batches(4096)] == [1] * 128


def test_error_for_too_little_text_says_how_much_there_is(tokenizers, build_corpora, tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("A short text. " * 40, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"contains \d+ documents .* 16 are needed"):
        build_corpora(tokenizers["decoder"], text=str(path))


def test_absent_and_undecodable_text_files_are_errors(tmp_path):
    with pytest.raises(ShapesweepError, match="there is no file"):
        _text.read_text(str(tmp_path / "absent.txt"))
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(ShapesweepError, match="not UTF-8"):
        _text.read_text(str(tmp_path / "latin.txt"))


def test_text_with_another_digest_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\r\ntwo\rthree")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (
        _text.read_text(str(path), sha256=digest) == _text.read_text(str(path)) == "one\ntwo\nthree"
    )
    path.write_bytes(b"another")
    with pytest.raises(ShapesweepError, match=r"text\.txt has changed since the plan was made"):
        _text.read_text(str(path), sha256=digest)


def test_stdlib_texts_for_training_and_measuring_are_separate():
    training, measuring = (_text.stdlib_text(part) for part in ("training", "measuring"))
    assert len(training) > 1_000_000
    assert 0.04 < len(measuring) / len(training) < 0.25
    long = {part for part in measuring.split("\n\n") if len(part) > 80}
    assert not set(training.split("\n\n")[:50]) & long


def test_number_of_short_documents_is_limited_by_the_text(tokenizers, settings):
    last = settings.corpus.last.model_copy(update={"documents": 10**6, "length": 12})
    chosen = settings.corpus.model_copy(update={"last": last})
    songs = "".join(f"Song {n} of many. " for n in range(900))
    text = "It was a day like every other. " * 3 + songs
    (corpus,) = corpora.build(["last"], {chosen.text: text}, tokenizers["decoder"], chosen, 300)
    # Repeated documents are not counted.
    few = settings.corpus.model_copy(update={"last": last.model_copy(update={"documents": 15})})
    repeated = text[: 8 * 12 * 15] * 3 + text
    (fewer,) = corpora.build(["last"], {few.text: repeated}, tokenizers["decoder"], few, 300)
    assert len(fewer.documents) == len({d.tobytes() for d in fewer.documents}) == 15
    # The text is used completely: 11 of the 12 tokens of a document come from the text.
    n_tokens = len(tokenizers["decoder"](text, add_special_tokens=False)["input_ids"])
    assert 0.8 * n_tokens / 11 < len(corpus.documents) <= n_tokens / 11
    assert corpus.measured(3).tolist() == [11]
    with pytest.raises(ShapesweepError, match=r"lower corpus\.last\.length"):
        corpora.build(["last"], {chosen.text: "short"}, tokenizers["decoder"], chosen, 300)


def test_passages_measure_random_positions_and_all_tokens_of_some_documents(
    tokenizers, settings, text_file
):
    passages = settings.corpus.passages.model_copy(update={"documents": 60, "length": 12})
    chosen = settings.corpus.model_copy(update={"passages": passages})
    text = text_file.read_text(encoding="utf-8")
    for family, n_suffix in (("decoder", 0), ("encoder", 1)):
        texts = {chosen.text: text}
        (corpus,) = corpora.build(["passages"], texts, tokenizers[family], chosen, 300)
        body = list(range(1, 12 - n_suffix))
        assert len({document.tobytes() for document in corpus.documents}) == 60
        measured = [corpus.measured(number).tolist() for number in range(60)]
        assert measured == [corpus.measured(number).tolist() for number in range(60)]
        # As few documents as contain 60 tokens for each draw are measured completely.
        n_whole = -(-DRAWS * 60 // len(body))
        assert measured[:n_whole] == [body] * n_whole
        for positions in measured[n_whole:]:
            assert len(positions) == DRAWS
            assert set(positions) < set(body)
        # Every position after the first occurs.
        assert set(np.concatenate(measured[n_whole:])) == set(body)


def test_variants_have_other_texts_and_lengths(tokenizers, text_file, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Completely different words. " * 400, encoding="utf-8")
    variants = {"long": {"length": 48}, "other": {"text": str(other)}}
    shape = {"documents": 8, "length": 24, "passages": {"documents": 9}, "samples": 2}
    settings = CorpusConfig(text=str(text_file), **shape, variants=variants)
    texts = {name: _text.read_text(name) for name in settings.texts}
    names = ["text", "passages"]
    built = corpora.build(names, texts, tokenizers["decoder"], settings, 300)
    # The corpus `passages` does not depend on the length.
    suffixes = ("", ".long", ".other")
    samples = [f"text{suffix}{number}" for suffix in suffixes for number in ("", "-2")]
    passages = [f"passages{suffix}{number}" for suffix in ("", ".other") for number in ("", "-2")]
    by_name = {corpus.name: corpus for corpus in built}
    assert sorted(by_name) == sorted(samples + passages)
    assert {len(d) for d in by_name["text.long"].documents} == {48}
    assert {len(d) for d in by_name["text.other-2"].documents} == {24}
    words = tokenizers["decoder"].decode(by_name["passages.other"].documents[3][1:])
    assert words in other.read_text(encoding="utf-8")
    alone = settings.model_copy(update={"variants": {}})
    plain = corpora.build(names, texts, tokenizers["decoder"], alone, 300)
    assert [corpus.digest for corpus in plain] == [by_name[c.name].digest for c in plain]


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"variants": {"a": {}}}, r"corpus\.variants\.a: sets no key"),
        (
            {"variants": {"a-b": {"length": 9}}},
            r"write a name of at most 40 letters, digits and '_'",
        ),
        ({"variants": {"a": {"texts": "b"}}}, r"there is no such key; did you mean text\?"),
        ({"text": "hf://datasets/a/b@main/c.parquet#d"}, "must have 40 hexadecimal digits"),
        ({"text": "https://a/b"}, "write hf://datasets/"),
        ({"text": f"hf://datasets/a/b@{'0' * 40}/../x.parquet#c"}, "write hf://datasets/"),
        ({"text": f"hf://datasets/../b@{'0' * 40}/x.parquet#c"}, "write hf://datasets/"),
        ({"variants": {"a": {"length": 64}}}, r"variants\.a: its documents are those of another"),
        (
            {"sampling": "paper", "variants": {"a": {"length": 512}}},
            "only `text` and `sampling` change the documents of a text",
        ),
    ],
)
def test_wrong_texts_and_variants_are_refused(corpus, message):
    with pytest.raises(ShapesweepError, match=message):
        files.validate({"suites": ["embedded"], "corpora": ["text"], "corpus": corpus})


def test_an_unknown_name_of_a_text_gets_advice():
    with pytest.raises(ShapesweepError, match=r"there is no file papers; did you mean paper\?"):
        _text.text_file("papers")


def test_samples_have_different_documents(tokenizers, build_corpora):
    tokenizer = tokenizers["decoder"]
    both = build_corpora(tokenizer, documents=12, samples=2)
    names = ["text", "text-2", "random", "random-2", "shuffled", "shuffled-2"]
    assert [corpus.name for corpus in both] == names
    by_name = {corpus.name: {d.tobytes() for d in corpus.documents} for corpus in both}
    for name in names[::2]:
        assert len(by_name[name]) == len(by_name[f"{name}-2"]) == 12
        assert not by_name[name] & by_name[f"{name}-2"]


def test_samples_have_no_block_of_text_in_common():
    # Each block has room for eight documents of 20 tokens, with 8 characters per token.
    letters = "abcdefghijklmnopqrst"
    numbers = itertools.count()
    blocks = ("".join(f"{c}{next(numbers):06d} " for _ in range(160)) for c in letters)
    chosen = CorpusConfig(samples=2, passages={"documents": 60, "length": 20})

    def characters(text, **_):
        return {"input_ids": list(map(ord, text))}

    found = _documents.cut_short("".join(blocks), characters, chosen, 0, "passages")
    used = [{chr(t) for body in sample for t in body} & set(letters) for sample in found]
    assert [len(sample) for sample in found] == [60, 60]
    assert not used[0] & used[1]


def test_samples_of_the_paper_have_different_chunks(tokenizers, build_corpora, text_file):
    tokenizer, n_chunks = tokenizers["encoder"], len(text_file.read_text(encoding="utf-8")) // 512
    (first, second, *_) = build_corpora(tokenizer, sampling="paper", samples=2)
    (alone, *_) = build_corpora(tokenizer, sampling="paper")
    assert first.digest == alone.digest
    assert len(second.documents) == min(128, n_chunks - 128)
    assert not {d.tobytes() for d in first.documents} & {d.tobytes() for d in second.documents}


def test_error_for_too_little_text_names_the_samples(tokenizers, build_corpora, tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("A short text. " * 40, encoding="utf-8")
    with pytest.raises(ShapesweepError, match="but 2 samples of 16 are needed"):
        build_corpora(tokenizers["decoder"], text=str(path), samples=2)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    (tmp_path / "text.txt").write_text("one two", encoding="utf-8-sig")
    assert _text.read_text(str(tmp_path / "text.txt")) == "one two"


def test_a_short_text_of_a_variant_is_refused_with_the_key_of_the_variant(tokenizers, text_file):
    settings = CorpusConfig(text=str(text_file), documents=4, length=8)
    settings = CorpusConfig(**settings.model_dump() | {"variants": {"long": {"length": 10**6}}})
    texts = {settings.text: _text.read_text(settings.text)}
    with pytest.raises(ShapesweepError, match=r"lower corpus\.variants\.long\.documents or corpus"):
        corpora.build(["text"], texts, tokenizers["decoder"], settings, 300)
