"""What tests share: tiny models, trained for a moment, in a Trainer's layout."""

import pytest
import torch
import transformers

from shapesweep import activations, config, corpora, text, training

TEXT = "\n\n".join(
    f"The {n}th bird of the {n % 7}th tree sang song {n * n % 101}." for n in range(4000)
)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "birds.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizers():
    """A decoder's tokenizer and an encoder's, by family."""
    return {
        "decoder": training.make_tokenizer(TEXT, 300, masked=False),
        "encoder": training.make_tokenizer(TEXT, 300, masked=True),
    }


@pytest.fixture
def make_checkpoint(tokenizers):
    """A function that saves a tiny model with random weights as a checkpoint."""

    def make(folder, family="decoder", seed=0, config=None, tokenizer=True):
        torch.manual_seed(seed)
        config = config or (tiny_llama() if family == "decoder" else tiny_bert())
        auto = {
            "decoder": transformers.AutoModelForCausalLM,
            "encoder": transformers.AutoModelForMaskedLM,
        }[family]
        model = auto.from_config(config).eval()
        model.save_pretrained(folder)
        if tokenizer:
            tokenizers[family].save_pretrained(folder)
        return model

    return make


def tiny_llama(**more):
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    limits = {"vocab_size": 300, "max_position_embeddings": 64}
    return transformers.LlamaConfig(**(shape | heads | limits | more))


def tiny_bert(**more):
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    return transformers.BertConfig(
        vocab_size=300, max_position_embeddings=64, num_attention_heads=2, **(shape | more)
    )


@pytest.fixture
def settings(text_file):
    """A sweep's configuration that is small enough for a test."""
    return config.validate(
        {
            "suites": {"local": {"source": "local", "runs": {"run": "nowhere"}}},
            "corpus": {"text": str(text_file), "documents": 16, "length": 24},
            "geometry": {"n_points": 128, "groups": 4},
            "corpora": ["text", "random", "shuffled"],
            "batch_tokens": 96,
            "device": "cpu",
        }
    )


def by_checkpoint(replicates):
    """A table of replicates as the curves ask for it."""

    def of(suite, run, revisions):
        mine = (replicates.suite == suite) & (replicates.run == run)
        return replicates[mine & replicates.revision.isin(revisions)]

    return of


def extract(row, folder, settings, out, measured=None):
    """What `activations.extract` says of one checkpoint."""
    source = activations.Source(row, folder, out, measured or {}, state="as it is")
    (said,) = activations.extract([source], settings)
    return said


@pytest.fixture
def build_corpora(settings):
    """A function from a tokenizer to the corpora that the test's configuration gives."""

    def build(tokenizer, **more):
        chosen = settings.corpus.model_copy(update=more)
        return corpora.build(
            ("text", "random", "shuffled"), text.read_text(chosen.text), tokenizer, chosen, 300
        )

    return build
