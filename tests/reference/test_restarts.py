"""In real training runs, planted restarts are flagged, and neighbouring checkpoints are not."""

import copy

import numpy as np
import pytest
import torch
import transformers

from helpers.models import tiny_llama
from shapesweep.checkpoint import weight_sample
from shapesweep.corpora import stdlib_text
from shapesweep.curves.continuity import continuity
from shapesweep.training.train import packed

#: The number of steps between two checkpoints, and the number of checkpoints.
EVERY, N = 20, 14
#: The indices of the checkpoints from which the training is restarted.
RESTARTS = (3, 6, 9)


@pytest.fixture(scope="module")
def trainings(tokenizers):
    """Weight samples of two training runs, and of three restarts of the first run."""
    documents = torch.from_numpy(packed(stdlib_text("measuring"), tokenizers["decoder"], 24))

    def train(seed, start=None, first=0):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(tiny_llama(hidden_size=32, intermediate_size=64))
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
        if start:
            model.load_state_dict(start[0])
            optimizer.load_state_dict(copy.deepcopy(start[1]))
        order = torch.Generator().manual_seed(seed)
        samples, states = [weight_sample.sample(model)], {}
        for step in range(first * EVERY, (N - 1) * EVERY):
            # The learning rate has a warm-up and a decay, as in most training runs.
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - 0.9 * step / EVERY / N)
            batch = documents[torch.randint(len(documents), (8,), generator=order)]
            optimizer.zero_grad()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            if (step + 1) % EVERY == 0:
                samples.append(weight_sample.sample(model))
                state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
                states[(step + 1) // EVERY] = state
        return samples, states

    first, states = train(0)
    other, _ = train(1)
    branches = {k: [*first[:k], *train(100 + k, states[k], k)[0]] for k in RESTARTS}
    return first, other, branches


def flags(samples):
    return continuity(samples, range(0, EVERY * len(samples), EVERY))


def test_trainings_without_restarts_are_continuous(trainings):
    first, other, branches = trainings
    for run in (first, other, *branches.values()):
        assert flags(run) == {}
        # No checkpoint is flagged even if every second checkpoint is left out.
        assert flags(run[::2]) == {}


def test_a_restart_from_other_weights_is_flagged_at_any_checkpoint(trainings):
    first, other, _ = trainings
    for index in range(2, N - 2):
        assert flags([*first[:index], *other[index:]]) == {index: "break"}


def test_a_restart_from_at_least_three_checkpoints_earlier_is_flagged(trainings):
    first, _, branches = trainings
    for start, branch in branches.items():
        for index in range(start + 3, N - 2):
            found = flags([*first[:index], *branch[index:]])
            assert found == {index: "break"}, (start, index)


def test_foreign_and_swapped_checkpoints_have_different_flags(trainings):
    first, other, _ = trainings
    for index in range(1, N - 1):
        samples = [*first[:index], other[index], *first[index + 1 :]]
        assert flags(samples) == {index: "discontinuous"}
    for index in range(1, N - 2):
        order = np.arange(N)
        order[index : index + 2] = order[index : index + 2][::-1]
        found = flags([first[k] for k in order])
        assert found == dict.fromkeys((index, index + 1), "out_of_order")
