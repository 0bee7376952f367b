"""A `tokenizer.json` determines the tokens, whatever class the other files name."""

import io
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

from helpers.models import TEXT, tiny_llama
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.corpora import special_tokens
from shapesweep.errors import CheckpointError

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
#: The pre-tokenizer of cl100k.
SPLIT = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(SPLIT, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
)
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), BYTES])
#: A text with numbers, accents, upper case and runs of blanks.
READ = TEXT[:3000].replace("sang", "  SANG\n\nà") + " 1234567 it's 3.14"


def bpe(pre_tokenizer=BYTES, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<unk>"]
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([READ, TEXT], trainer)
    return tokenizer


def word_pieces(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator([READ], WordPieceTrainer(vocab_size=300, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def load(folder, text=READ * 4):
    return load_tokenizer(folder, text)


def write(folder, tokenizer, config=None, model=None):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in (("tokenizer_config.json", config), ("config.json", model)):
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")


CASES = {
    "cl100k as GPT2Tokenizer": (bpe(CL100K), "GPT2Tokenizer", "llama"),
    "digits as GPT2Tokenizer": (bpe(DIGITS), "GPT2Tokenizer", "llama"),
    "digits as GPT2TokenizerFast": (bpe(DIGITS), "GPT2TokenizerFast", "starcoder2"),
    "digits beside qwen2": (bpe(DIGITS), "PreTrainedTokenizerFast", "qwen2"),
    "lower case beside qwen2": (bpe(BYTES, normalizers.Lowercase()), None, "qwen2"),
    "cl100k as Qwen2Tokenizer": (bpe(CL100K), "Qwen2Tokenizer", "qwen2"),
    "bytes as LlamaTokenizerFast": (bpe(), "LlamaTokenizerFast", "llama"),
    "digits as LlamaTokenizer": (bpe(DIGITS), "LlamaTokenizer", "llama"),
    "cl100k as GPTNeoXTokenizerFast": (bpe(CL100K), "GPTNeoXTokenizerFast", "gpt_neox"),
    "cl100k as GemmaTokenizer": (bpe(CL100K), "GemmaTokenizer", "gemma"),
    "cl100k as CodeGenTokenizer": (bpe(CL100K), "CodeGenTokenizer", "codegen"),
    "digits as RobertaTokenizer": (bpe(DIGITS), "RobertaTokenizer", "roberta"),
    "cased as BertTokenizer": (word_pieces(False), "BertTokenizer", "bert"),
    "uncased as BertTokenizer": (word_pieces(True), "BertTokenizerFast", "bert"),
    "unigram as T5Tokenizer": (unigram(), "T5Tokenizer", "t5"),
    "unigram as XLNetTokenizer": (unigram(), "XLNetTokenizer", "xlnet"),
    "unknown class": (bpe(DIGITS), "NobodysTokenizer", "llama"),
    "no class": (bpe(DIGITS), None, "gpt2"),
    "no model": (bpe(CL100K), "GPT2Tokenizer", None),
}


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_the_package_tokenizers(tmp_path, case, above):
    tokenizer, named, model_type = CASES[case]
    config = {"tokenizer_class": named} if named else None
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    write(tmp_path if above else folder, tokenizer, config)
    if model_type:
        text = json.dumps({"model_type": model_type})
        (folder / "config.json").write_text(text, encoding="utf-8")
    loaded = load(folder)
    ids = loaded(READ, add_special_tokens=False)["input_ids"]
    assert ids == tokenizer.encode(READ, add_special_tokens=False).ids
    assert loaded(READ)["input_ids"] == tokenizer.encode(READ).ids
    prefix, suffix = special_tokens(loaded, READ)
    assert [*prefix, *ids, *suffix] == tokenizer.encode(READ).ids


def test_class_adds_the_names_of_special_tokens(tmp_path):
    # The published bert-base-uncased names no special token in `tokenizer_config.json`.
    write(tmp_path, word_pieces(True), {"do_lower_case": True}, {"model_type": "bert"})
    loaded = load(tmp_path)
    assert (loaded.mask_token, loaded.mask_token_id) == ("[MASK]", 4)
    assert set(loaded.all_special_ids) == {0, 1, 2, 3, 4}


def test_default_of_a_class_adds_no_token_to_the_vocabulary(tmp_path):
    tokenizer = word_pieces(True)
    write(tmp_path, tokenizer, {"tokenizer_class": "LlamaTokenizer"}, {"model_type": "llama"})
    assert len(load(tmp_path)) == tokenizer.get_vocab_size()


@pytest.mark.parametrize("adds", [True, False])
def test_sentencepiece_file_has_no_bos_token_if_the_files_say_so(tmp_path, pieces, adds):
    (tmp_path / "tokenizer.model").write_bytes(pieces)
    text = json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": adds})
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    loaded = load(tmp_path)
    prefix, _ = special_tokens(loaded, TEXT)
    assert prefix.tolist() == [loaded.bos_token_id] * adds


@pytest.mark.parametrize("name", ["pad_token", "eos_token", "mask_token"])
def test_name_of_an_ordinary_token_does_not_cut_the_text(tmp_path, name):
    tokenizer = bpe()
    write(tmp_path, tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", name: "s"})
    loaded = load(tmp_path)
    assert getattr(loaded, name) == "s"
    assert loaded(READ)["input_ids"] == tokenizer.encode(READ).ids


@pytest.mark.parametrize("adds", [True, False])
def test_complete_file_also_determines_the_first_token(tmp_path, adds):
    tokenizer = bpe()
    start = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_bos_token": adds}
    write(tmp_path, tokenizer, config)
    prefix, suffix = special_tokens(load(tmp_path), READ)
    assert (prefix.tolist(), suffix.tolist()) == ([start], [])


def test_passages_are_not_truncated(tmp_path):
    tokenizer = bpe()
    expected = tokenizer.encode(READ).ids
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=9000)
    write(tmp_path, tokenizer, {"model_max_length": 8})
    assert load(tmp_path)(READ, add_special_tokens=False)["input_ids"] == expected


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def pieces(request):
    """The contents of a SentencePiece file."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n\n")),
        model_writer=out,
        vocab_size=300,
        model_type=request.param,
        minloglevel=2,
    )
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "named", "model_type", "before", "after"),
    [
        ("tokenizer.model", "LlamaTokenizer", None, ["<s>"], []),
        ("tokenizer.model", None, "llama", ["<s>"], []),
        ("tokenizer.model", None, "mistral", ["<s>"], []),
        ("tokenizer.model", "GemmaTokenizer", None, ["<bos>"], []),
        ("sentencepiece.model", "RemBertTokenizer", None, ["[CLS]"], ["[SEP]"]),
        ("spiece.model", "FNetTokenizer", None, ["[CLS]"], ["[SEP]"]),
        ("spiece.model", "T5Tokenizer", None, [], ["</s>"]),
        ("spm.model", "DebertaV2Tokenizer", None, ["[CLS]"], ["[SEP]"]),
        ("spiece.model", None, "xlnet", [], ["<sep>", "<cls>"]),
        ("sentencepiece.bpe.model", "XLMRobertaTokenizer", None, ["<s>"], ["</s>"]),
        ("spiece.model", "GPTSw3Tokenizer", None, [], []),
    ],
)
def test_sentencepiece_file_alone_is_read(tmp_path, pieces, name, named, model_type, before, after):
    (tmp_path / name).write_bytes(pieces)
    for file, described in (
        ("tokenizer_config.json", named and {"tokenizer_class": named, "do_lower_case": False}),
        ("config.json", model_type and {"model_type": model_type}),
    ):
        if described:
            (tmp_path / file).write_text(json.dumps(described), encoding="utf-8")
    theirs = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    text = TEXT[:20_000]
    loaded = load(tmp_path)
    ids = loaded(text, add_special_tokens=False)["input_ids"]
    assert loaded.convert_ids_to_tokens(ids) == theirs.encode(text, out_type=str)
    assert special_tokens(loaded, text)[0].tolist() == loaded.convert_tokens_to_ids(before)
    assert special_tokens(loaded, text)[1].tolist() == loaded.convert_tokens_to_ids(after)


def test_special_tokens_are_found_where_the_vocabulary_lacks_english_words(tmp_path):
    rng = np.random.default_rng(0)
    dna = "".join(rng.choice([*"ACGT"], 8000))
    tokenizer = Tokenizer(models.BPE())
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator([dna], BpeTrainer(vocab_size=100, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    write(tmp_path, tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"})
    prefix, suffix = special_tokens(load(tmp_path), dna)
    assert (prefix.tolist(), suffix.tolist()) == ([1], [2])
    with pytest.raises(CheckpointError, match="finds no tokens in the text"):
        special_tokens(load(tmp_path), "only small letters here " * 20)


def test_vocabulary_of_whole_words_needs_no_unknown_token(tmp_path, build_corpora):
    words = sorted(set(TEXT.split()))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    write(tmp_path, tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"})
    (corpus, *_) = build_corpora(load(tmp_path), n_embeddings=len(words))
    text = " ".join(TEXT.split())
    for document in corpus.documents:
        assert " ".join(words[i] for i in document) in text


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("stated", [None, False, True])
def test_vocabulary_with_upper_case_is_not_lowercased_by_default(tmp_path, lowercase, stated):
    theirs = tokenizers.BertWordPieceTokenizer(lowercase=lowercase)
    theirs.train_from_iterator([READ, READ.upper()], vocab_size=300)
    theirs.save_model(str(tmp_path))
    text = json.dumps({} if stated is None else {"do_lower_case": stated})
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    if stated is None and not lowercase:
        with pytest.raises(CheckpointError, match="have upper-case letters"):
            load(tmp_path)
        return
    ids = load(tmp_path)(READ, add_special_tokens=False)["input_ids"]
    if stated in (None, lowercase):
        assert ids == theirs.encode(READ, add_special_tokens=False).ids
    else:
        assert ids != theirs.encode(READ, add_special_tokens=False).ids


def test_saved_tokenizer_of_a_named_class_without_complete_file_is_read(tmp_path):
    transformers.LlamaForCausalLM(tiny_llama()).save_pretrained(tmp_path)
    tokenizer = bpe()
    vocabulary = json.loads(tokenizer.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in vocabulary["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    text = json.dumps({"tokenizer_class": "GPT2Tokenizer"})
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    theirs = tokenizers.ByteLevelBPETokenizer(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    )
    ids = load(tmp_path)(TEXT[:500], add_special_tokens=False)["input_ids"]
    assert ids == theirs.encode(TEXT[:500]).ids
