"""A small sample of weights, which is taken at the same positions in every checkpoint of a run."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sample(model: Any, n_weights: int = 2048) -> dict[str, NDArray[np.float32]]:
    """For each class of matrices, sample weights at the same positions in all checkpoints of a run.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    n_weights : int
        Maximum number of weights per class. At least one weight of each matrix is sampled.

    Returns
    -------
    dict of ndarray of float32
        Samples by class. The classes are `embedding`, `attention`, `feed_forward`, `head` and
        `other`; a class without a matrix is absent. The order within a class depends only on the
        names and shapes of the weights.
    """
    import torch

    ends = {"embedding": model.get_input_embeddings(), "head": model.get_output_embeddings()}
    known = {
        id(module.weight): kind for kind, module in reversed(ends.items()) if module is not None
    }
    by_class: dict[str, list[tuple[str, Any]]] = {}
    absent = getattr(model, "missing_weights", ())
    found = sorted((n, p) for n, p in model.named_parameters() if p.ndim > 1 and n not in absent)
    for name, weights in found:
        kind = known.get(id(weights)) or _tensor_class(name)
        by_class.setdefault(kind, []).append((name, weights))
    samples = {}
    for kind, matrices in by_class.items():
        share, taken = max(1, n_weights // len(matrices)), []
        for name, weights in matrices:
            rng = np.random.default_rng([*name.encode(), weights.numel()])
            size = min(share, weights.numel())
            positions = np.sort(rng.choice(weights.numel(), size, replace=False))
            chosen = weights.detach().reshape(-1)[torch.from_numpy(positions).to(weights.device)]
            taken.append(chosen.float().cpu().numpy())
        samples[kind] = np.concatenate(taken)
    return samples


def _tensor_class(name: str) -> str:
    """Determine the class of a matrix from words in the name of the parameter."""
    words = {
        "embedding": r"embed|wte|wpe",
        "attention": r"attn|attention",
        "feed_forward": r"mlp|ffn|feed_?forward|fc\d|dense_h|dense_4h|intermediate|output\.dense",
    }
    return next((kind for kind, fits in words.items() if re.search(fits, name)), "other")
