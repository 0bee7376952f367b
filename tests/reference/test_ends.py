"""In real training runs, foreign first and last checkpoints are flagged, and no others."""

import pytest
import torch
import transformers

from helpers.models import SHAPE
from shapesweep.checkpoint import weight_sample
from shapesweep.corpora import stdlib_text
from shapesweep.curves.continuity import continuity
from shapesweep.curves.unrelated import Run
from shapesweep.training.train import packed

DENSE = [0, 1, 2, 4, 8, 16, 32, 64, 100, 200, 300, 400]
COARSE = [0, 100, 200, 300, 400]
WIDTH = {"hidden_size": 32, "intermediate_size": 64}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SHAPE | WIDTH),
    # GPT-NeoX has layer norms and biases.
    "neox": transformers.GPTNeoXConfig(**SHAPE | WIDTH),
}
#: Learning rate and weight decay. `moderate` is as in the embedded suite. `fast` and `decayed` no
#: longer have the initial weights after 100 steps.
RECIPES = {"moderate": (2e-3, 0.1), "fast": (5e-2, 0.1), "decayed": (1e-2, 5.0)}


@pytest.fixture(scope="module")
def trained(tokenizers):
    """A function that trains a model and returns samples of its weights by step."""
    documents = torch.from_numpy(packed(stdlib_text("measuring"), tokenizers["decoder"], 24))
    done = {}

    def train(kind, recipe, seed):
        if (kind, recipe, seed) in done:
            return done[kind, recipe, seed]
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind])
        rate, decay = RECIPES[recipe]
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=rate, weight_decay=decay, betas=(0.9, 0.95)
        )
        order = torch.Generator().manual_seed(seed)
        samples = {0: weight_sample.sample(model)}
        for step in range(1, max(DENSE) + 1):
            batch = documents[torch.randint(len(documents), (8,), generator=order)]
            optimizer.zero_grad()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            if step in DENSE:
                samples[step] = weight_sample.sample(model)
        return done.setdefault((kind, recipe, seed), samples)

    return train


def flags(samples, steps, peers=()):
    others = [Run([peer[step] for step in steps], steps) for peer in peers]
    return continuity([samples[step] for step in steps], steps, others)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_no_checkpoint_of_a_training_is_foreign(trained, kind, recipe):
    samples = trained(kind, recipe, 20)
    peers = [trained(kind, "moderate", seed) for seed in (21, 22)]
    for steps in (DENSE, COARSE, DENSE[:5], COARSE[:3], [0, 8, 200, 400], DENSE[5:]):
        for others in ((), peers):
            assert "discontinuous" not in flags(samples, steps, others).values()


@pytest.mark.parametrize("kind", CONFIGS)
def test_foreign_ends_of_a_dense_grid_are_found(trained, kind):
    own, other = (trained(kind, "moderate", seed) for seed in (20, 21))
    last = len(DENSE) - 1
    first, end = {0: other[0]}, {DENSE[-1]: other[DENSE[-1]]}
    assert flags(own, DENSE) == {}
    assert flags({**own, **first}, DENSE) == {0: "discontinuous"}
    assert flags({**own, **end}, DENSE) == {last: "discontinuous"}
    both = dict.fromkeys((0, last), "discontinuous")
    assert flags({**own, **first, **end}, DENSE) == both
    # The stranger is not trained.
    assert flags({**own, DENSE[-1]: other[0]}, DENSE) == {last: "discontinuous"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_foreign_step_0_is_found_even_if_the_initialization_decays_quickly(trained, kind):
    own, other = (trained(kind, "decayed", seed) for seed in (20, 21))
    assert flags({**own, 0: other[0]}, DENSE)[0] == "discontinuous"


@pytest.mark.parametrize("kind", CONFIGS)
def test_foreign_step_0_of_a_coarse_grid_is_found_only_with_other_runs(trained, kind):
    own, *peers = (trained(kind, "moderate", seed) for seed in (20, 21, 22))
    foreign = {**own, 0: peers[0][0]}
    assert flags(foreign, COARSE) == {}
    assert flags(foreign, COARSE, peers) == {0: "discontinuous"}
