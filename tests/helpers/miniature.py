"""Miniature repositories on the stand-in Hub, with the names that the shipped sweeps use."""

import numpy as np
import transformers

from helpers.hub_suites import files
from helpers.models import AUTO, trajectory
from helpers.published_names import revisions

SHAPE = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
POSITIONS = {"max_position_embeddings": 640}
LLAMA = SHAPE | POSITIONS | {"intermediate_size": 32, "num_key_value_heads": 2}
#: The architecture of each repository, by the start of the repository's name.
CONFIGS = {
    "EleutherAI/": transformers.GPTNeoXConfig(**SHAPE, **POSITIONS, intermediate_size=32),
    "allenai/": transformers.Olmo2Config(**LLAMA),
    "TinyLlama/": transformers.LlamaConfig(**LLAMA),
    "meta-llama/": transformers.LlamaConfig(**LLAMA),
    "bigscience/": transformers.BloomConfig(vocab_size=300, hidden_size=16, n_layer=2, n_head=2),
    "openai-community/": transformers.GPT2Config(
        vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=640
    ),
    "facebook/": transformers.OPTConfig(**SHAPE, **POSITIONS, ffn_dim=32, word_embed_proj_dim=16),
    "google-bert/": transformers.BertConfig(**SHAPE, **POSITIONS, intermediate_size=32),
    "FacebookAI/": transformers.RobertaConfig(**SHAPE, **POSITIONS, intermediate_size=32),
}
#: The maximum number of checkpoints that are published per run, including the first and the last.
MAX_CHECKPOINTS = 2
ENCODERS = ("google-bert/", "FacebookAI/")


def publish(hub, name, suite, repositories, tokenizers, folder):
    """Add the repositories of a suite to a stand-in, with some of their published revisions.

    Parameters
    ----------
    hub : helpers.standin.StandIn
    name : str
    suite : HubSuite
    repositories : list of str
    tokenizers : dict
        Tokenizers by family.
    folder : pathlib.Path
        Folder for temporary files.
    """
    for repository in repositories:
        family = "encoder" if repository.startswith(ENCODERS) else "decoder"
        tokenizer = files(tokenizers[family], folder / "tokenizer")
        (shape,) = [c for start, c in CONFIGS.items() if repository.startswith(start)]
        names = revisions(name, suite, repository)
        n_chosen = min(MAX_CHECKPOINTS, len(names))
        chosen = np.linspace(0, len(names) - 1, n_chosen).astype(int)
        names = [names[index] for index in chosen]
        # Each run has its own seed, so no two runs share a file.
        seed = sum(f"{name} {repository}".encode())
        for revision, (_, model) in zip(
            names, trajectory(shape, range(len(names)), seed, AUTO[family]), strict=True
        ):
            refs = "tags" if suite.mode == "tags" else "branches"
            hub.add(repository, revision, files(model, folder / "model") | tokenizer, refs)
