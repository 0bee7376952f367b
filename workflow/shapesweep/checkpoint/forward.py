"""Run a model on token ids.

The encoder of an encoder-decoder reads the document, and its decoder reads the same document after
a start token, without the last token. No token is masked or removed, so the input is the same for
all checkpoints.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.errors import CheckpointError, UnexpectedError, described, raise_if_memory

#: The stacks of an encoder-decoder. All other models have one stack without a name.
STACKS = ("encoder", "decoder")


def stacks(model: Any) -> tuple[str, ...]:
    """Return the names of the stacks of a model: `STACKS`, or one empty name."""
    return STACKS if getattr(model.config, "is_encoder_decoder", False) else ("",)


def n_embeddings(model: Any) -> int:
    """Return the number of rows of a model's embedding.

    Raises
    ------
    CheckpointError
        If the model does not read tokens.
    """
    try:
        return int(model.get_input_embeddings().num_embeddings)
    # Models of images have an embedding of another kind, or none.
    except (AttributeError, NotImplementedError):
        raise CheckpointError(f"{type(model).__name__} does not read tokens") from None


def forward(model: Any, batch: Any, decoder: Any = None) -> Any:
    """Run a model on token ids, with hidden states in the output.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    batch : torch.Tensor of int64, shape (n_documents, n_tokens)
    decoder : torch.Tensor of int64, optional
        Input of the decoder of an encoder-decoder; by default, `batch` shifted to the right.

    Raises
    ------
    CheckpointError
        If the model cannot be run on token ids alone.
    MemoryError
        If memory runs out.
    """
    inputs = {"input_ids": batch}
    try:
        if "decoder" in stacks(model):
            start = start_token(model)
            inputs["decoder_input_ids"] = shifted(batch, start) if decoder is None else decoder
        return model(**inputs, output_hidden_states=True)
    except CheckpointError:
        raise
    except Exception as error:  # models raise all kinds of errors for inputs that they cannot read
        raise_if_memory(error)
        name = type(model).__name__
        raise UnexpectedError(
            f"{name} cannot be run on these tokens: {described(error)}"
        ) from error


def states_of(output: Any, stack: str) -> Any:
    """Return the hidden states of a stack; None if the output contains none."""
    return getattr(output, f"{stack}_hidden_states" if stack else "hidden_states", None)


def start_token(model: Any) -> int:
    """Return the id of the token with which the input of a decoder begins.

    Raises
    ------
    CheckpointError
        If the configuration names no such token.
    """
    configs = [model.config, getattr(model.config, "decoder", None)]
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        for config in configs:
            found = getattr(config, name, None)
            if isinstance(found, int):
                return found
    raise CheckpointError("config.json has no decoder_start_token_id")


def shifted(batch: Any, start: int) -> Any:
    """Return documents that begin with a start token, and lack their last token."""
    import torch

    return torch.cat([torch.full_like(batch[:, :1], start), batch[:, :-1]], dim=1)


def to_batch(model: Any, documents: list[NDArray[np.int64]]) -> Any:
    """Return documents of equal length as a tensor on the device of the model."""
    import torch

    return torch.from_numpy(np.stack(documents)).to(model.device)
