"""What shapesweep does with a miniature of a class of transformers.

The states and losses are compared with those of transformers, computed before the model is saved.
"""

import numpy as np
import torch

from helpers import miniatures
from shapesweep.activations import losses
from shapesweep.checkpoint.hidden_states import find_anatomy, forward, to_batch
from shapesweep.checkpoint.load import load
from shapesweep.corpora import Corpus
from shapesweep.errors import CheckpointError, as_checkpoint_errors, described

#: Ids of tokens that are in every vocabulary, and are not special tokens.
DOCUMENT = np.random.default_rng(0).integers(10, 60, 23)
MASK_TOKEN = 5
CORPUS = Corpus("text", (DOCUMENT,), n_prefix=0, n_suffix=0)
#: Maximum difference of states. The weights and the batch are the same, so at most the order of
#: the sums differs.
TOLERANCE = 1e-5


def verdict(name, folder):
    """Save a miniature, load it with shapesweep, and compare its states with the original's.

    Parameters
    ----------
    name : str
        Name of a class of transformers.
    folder : path-like
        Folder for the checkpoint.

    Returns
    -------
    str
        One of `no miniature`, `refused`, `fails` and `measured`, with details. `fails` means that
        shapesweep does not refuse a model that it should refuse.

    Raises
    ------
    AssertionError
        If the states or the loss differ from those of transformers.
    """
    try:
        original = miniatures.make(name)
    except Exception as error:  # transformers raises all kinds of errors for configurations
        return f"no miniature: {described(error)}"
    original.save_pretrained(folder)
    try:
        with as_checkpoint_errors(), torch.inference_mode():
            model = load(folder)
            anatomy = find_anatomy(model, DOCUMENT)
            with anatomy.ends() as ends:
                states = forward(model, to_batch(model, [DOCUMENT])).hidden_states
            kept = anatomy.kept(states, ends)
            loss = losses.loss_of(model, anatomy, CORPUS, MASK_TOKEN)
            sums = losses.run(model, CORPUS, len(DOCUMENT), loss) if loss else None
    except CheckpointError as error:
        return f"refused: {error}"
    expected = original_states(original)
    if not all(map(torch.equal, expected, original_states(original))):
        return "fails: the hidden states are random, and differ from run to run"
    assert len(kept) == len(anatomy.names())
    assert {state.shape[:-1] for state in kept} == {(1, len(DOCUMENT))}
    for state, other in zip(states, expected, strict=True):
        assert other.isfinite().all()
        torch.testing.assert_close(state, other, rtol=0, atol=TOLERANCE)
    if sums is not None:
        value = sums[0, 0] / sums[1, 0]
        # The mean of at most 22 numbers in float32.
        torch.testing.assert_close(value, original_loss(original, loss), rtol=1e-5, atol=0)
    parts = [
        f"{anatomy.n_layers} blocks",
        "causal" if anatomy.causal else "not causal",
        "final norm" if anatomy.last == "final_norm" else "no final norm",
        "no loss" if sums is None else "loss",
    ]
    return f"measured: {', '.join(parts)}"


def original_states(original):
    """Return the hidden states of the document, from a model that shapesweep has not loaded."""
    with torch.inference_mode():
        output = original(input_ids=torch.from_numpy(DOCUMENT)[None], output_hidden_states=True)
    return output.hidden_states


def original_loss(original, loss):
    """Return the loss of the document, computed from the logits of a model."""
    batch = torch.from_numpy(DOCUMENT)
    if isinstance(loss, losses.Masked):
        places = targets = np.flatnonzero(loss.masks[0])
    else:  # Each token is predicted in the place of the token before.
        places, targets = np.arange(len(batch) - 1), np.arange(1, len(batch))
    with torch.inference_mode():
        output = original(input_ids=loss.tokens(batch[None], [0]))
    logits = output.logits if "logits" in output else output.prediction_logits
    expected = torch.nn.functional.cross_entropy(logits[0, places].double(), batch[targets])
    return expected.item()
