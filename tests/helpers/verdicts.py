"""What shapesweep does with a miniature of a class of transformers.

The states and losses are compared with those of transformers, computed before the model is saved.
"""

import contextlib

import numpy as np
import torch

from helpers import miniatures
from shapesweep.activations import losses
from shapesweep.checkpoint.forward import forward, states_of, to_batch
from shapesweep.checkpoint.hidden_states import find_stacks
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
            stacks = find_stacks(model, DOCUMENT)
            with contextlib.ExitStack() as stack:
                ends = [stack.enter_context(anatomy.ends()) for anatomy in stacks]
                output = forward(model, to_batch(model, [DOCUMENT]))
            states = [states_of(output, anatomy.stack) for anatomy in stacks]
            loss = None
            if len(stacks) == 1:
                loss = losses.loss_of(model, stacks[0], CORPUS, MASK_TOKEN)
            sums = losses.run(model, CORPUS, len(DOCUMENT), loss) if loss else None
    except CheckpointError as error:
        return f"refused: {error}"
    for anatomy, found, recorded in zip(stacks, states, ends, strict=True):
        kept = anatomy.kept(found, recorded)
        assert len(kept) == len(anatomy.names())
        assert {state.shape[:-1] for state in kept} == {(1, len(DOCUMENT))}
        expected = original_states(original, anatomy.stack)
        for state, other in zip(found, expected, strict=True):
            assert other.isfinite().all()
            torch.testing.assert_close(state, other, rtol=0, atol=TOLERANCE)
    if sums is not None:
        value = sums[0, 0] / sums[1, 0]
        # The mean of at most 22 numbers in float32.
        torch.testing.assert_close(value, original_loss(original, loss), rtol=1e-5, atol=0)
    described_stacks = "; ".join(map(_described, stacks))
    return f"measured: {described_stacks}, {'no loss' if sums is None else 'loss'}"


def _described(anatomy):
    parts = [
        f"{anatomy.stack} of {anatomy.n_layers} blocks"
        if anatomy.stack
        else f"{anatomy.n_layers} blocks",
        "causal" if anatomy.causal else "not causal",
        "final norm" if anatomy.last == "final_norm" else "no final norm",
    ]
    return ", ".join(parts)


def original_states(original, stack):
    """Return the hidden states of the document, from a model that shapesweep has not loaded."""
    inputs = {"input_ids": torch.from_numpy(DOCUMENT)[None]}
    if stack:
        inputs["decoder_input_ids"] = torch.tensor([[first_token(original), *DOCUMENT[:-1]]])
    with torch.inference_mode():
        output = original(**inputs, output_hidden_states=True)
    return output[f"{stack}_hidden_states"] if stack else output.hidden_states


def first_token(original):
    """Return the token with which a decoder starts, according to the configuration."""
    configs = (original.config, original.config.to_dict().get("decoder"))
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    for name in names:
        for config in configs:
            found = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
            if found is not None:
                return found
    raise AssertionError("no first token")


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
