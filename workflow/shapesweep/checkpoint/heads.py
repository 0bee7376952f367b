"""Heads: weights of a model on which no hidden state depends."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from shapesweep.checkpoint.forward import forward, stacks, states_of, to_batch

#: Names of modules that are heads or poolers in transformers.
_NAMES = (
    *("pooler", "pooling_layer", "sequence_summary", "cls", "classifier", "classification_head"),
    *("score", "qa_outputs", "lm_head", "generator_lm_head", "embed_out", "lm_predictions"),
    *("mlm_head", "lm_loss", "pred_layer", "prediction_head", "predictions", "sop_classifier"),
    *("generator_predictions", "discriminator_predictions", "vocab_transform", "vocab_projector"),
    *("vocab_layer_norm", "seq_relationship", "nsp_head", "multiple_choice_head", "logits_proj"),
    *("final_logits_bias", "v_head", "value_head", "reward_head", "regression_head"),
)
_HEAD = re.compile(rf"([a-z_]+\.)*({'|'.join(_NAMES)})(\..+)?")


def is_head(name: str) -> bool:
    """Return whether a weight belongs to a head or to a pooler, by its name.

    Modules inside numbered blocks are never heads.

    Examples
    --------
    >>> is_head("bert.pooler.dense.weight"), is_head("h.0.score.weight")
    (True, False)
    """
    return _HEAD.fullmatch(name) is not None


def depend_on(model: Any, names: Sequence[str]) -> bool:
    """Return whether hidden states depend on any of the named weights, which are set to NaN.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    names : sequence of str
        Names of weights that the files lack.

    Raises
    ------
    CheckpointError
        If the model cannot be run.
    """
    import torch

    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.inference_mode():
        for name in names:
            weights[name].fill_(torch.nan)
        output = forward(model, to_batch(model, [np.array([1, 2, 3, 1])]))
        states = [state for stack in stacks(model) for state in states_of(output, stack) or ()]
        return not all(torch.isfinite(state).all() for state in states)
