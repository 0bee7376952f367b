"""Restarts that are planted in real trainings: each is flagged, and no clean neighbour is."""

import copy

import numpy as np
import pytest
import torch
import transformers

from helpers.models import tiny_llama
from shapesweep.checkpoint import weight_sample
from shapesweep.corpora import stdlib_text
from shapesweep.curves import continuity as curves_continuity
from shapesweep.training import train as training

#: Steps between two checkpoints, and how many there are.
EVERY, N = 20, 14
#: Checkpoints from which a training is restarted.
FROM = (3, 6, 9)


@pytest.fixture(scope="module")
def trainings(tokenizers):
    """Samples of every checkpoint of two seeds, and of the first one restarted three times."""
    packed = torch.from_numpy(training.packed(stdlib_text("measuring"), tokenizers["decoder"], 24))

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
            # Warm-up and decay, as most have them.
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - 0.9 * step / EVERY / N)
            batch = packed[torch.randint(len(packed), (8,), generator=order)]
            optimizer.zero_grad()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            if (step + 1) % EVERY == 0:
                samples.append(weight_sample.sample(model))
                kept = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
                states[(step + 1) // EVERY] = kept
        return samples, states

    first, states = train(0)
    other, _ = train(1)
    branches = {k: [*first[:k], *train(100 + k, states[k], k)[0]] for k in FROM}
    return first, other, branches


def continuity(samples):
    return curves_continuity.continuity(samples, range(0, EVERY * len(samples), EVERY))


def test_trainings_are_continuous(trainings):
    first, other, branches = trainings
    for run in (first, other, *branches.values()):
        assert continuity(run) == {}
        # And of every second one of their checkpoints.
        assert continuity(run[::2]) == {}


def test_a_restart_from_other_weights_is_flagged_wherever_it_is(trainings):
    first, other, _ = trainings
    for place in range(2, N - 2):
        assert continuity([*first[:place], *other[place:]]) == {place: "break"}


def test_a_restart_from_an_earlier_checkpoint_is_flagged_once_two_have_passed(trainings):
    first, _, branches = trainings
    for start, branch in branches.items():
        for place in range(start + 3, N - 2):
            found = continuity([*first[:place], *branch[place:]])
            assert found == {place: "break"}, (start, place)


def test_a_stranger_and_swapped_labels_are_told_apart(trainings):
    first, other, _ = trainings
    for place in range(1, N - 1):
        one = [*first[:place], other[place], *first[place + 1 :]]
        assert continuity(one) == {place: "discontinuous"}
    for place in range(1, N - 2):
        order = np.arange(N)
        order[place : place + 2] = order[place : place + 2][::-1]
        found = continuity([first[k] for k in order])
        assert found == dict.fromkeys((place, place + 1), "out_of_order")
