"""The losses of a language model on documents: next tokens, or tokens under a fixed mask."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.corpora import Corpus
from shapesweep.estimators import jackknife

MASKED_SHARE = 0.15

#: Sum and number of the losses of each document, shape (2, n_documents).
Sums = NDArray[np.float64]


def next_token(logits: Any, batch: Any) -> Sums:
    """Sum and number of the next-token losses of each document.

    Parameters
    ----------
    logits : torch.Tensor, shape (n_documents, n_tokens, n_vocabulary)
    batch : torch.Tensor of int64, shape (n_documents, n_tokens)

    Returns
    -------
    ndarray of float64, shape (2, n_documents)
    """
    import torch

    # One document at a time: the probabilities of a batch over a whole vocabulary are a gigabyte.
    sums = [
        torch.nn.functional.cross_entropy(one[:-1].float(), tokens[1:], reduction="none").sum()
        for one, tokens in zip(logits, batch, strict=True)
    ]
    counts = np.full(len(batch), batch.shape[1] - 1)
    return np.stack([torch.stack(sums).cpu().numpy(), counts])


def masks(one: Corpus, seed: int) -> list[NDArray[np.bool_]]:
    """Which tokens of every document an encoder has to guess: the same for every checkpoint."""
    rng = np.random.default_rng([seed, 3])
    made = []
    for document in one.documents:
        body = np.arange(one.n_prefix, len(document) - one.n_suffix)
        n_masked = max(1, round(MASKED_SHARE * len(body)))
        mask = np.zeros(len(document), dtype=bool)
        mask[rng.choice(body, n_masked, replace=False)] = True
        made.append(mask)
    return made


def masked(output: Any, batch: Any, mask: Any) -> Sums:
    """Sum and number of the losses of each document's masked tokens.

    Parameters
    ----------
    output : transformers.utils.ModelOutput
    batch : torch.Tensor of int64, shape (n_documents, n_tokens)
        What stood there.
    mask : torch.Tensor of bool, shape (n_documents, n_tokens)

    Returns
    -------
    ndarray of float64, shape (2, n_documents)
    """
    import torch

    # BertForPreTraining has a second head, and calls the first by another name.
    logits = output.logits if "logits" in output else output.prediction_logits
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2).float(), batch, reduction="none"
    )
    return np.stack([(losses * mask).sum(1).cpu().numpy(), mask.sum(1).cpu().numpy()])


def mean(totals: Sums, n_groups: int) -> tuple[float, NDArray[np.float64]]:
    """The mean loss of a token, and the same without each group of documents.

    Parameters
    ----------
    totals : ndarray of float64, shape (2, n_documents)
    n_groups : int

    Returns
    -------
    value : float
    without : ndarray of float64, shape (min(n_groups, n_documents),)
    """
    sums, counts = totals
    n_groups = min(n_groups, len(sums))
    groups = jackknife.assign_groups(np.arange(len(sums)), n_groups)
    left = [groups != g for g in range(n_groups)]
    without = [sums[keep].sum() / counts[keep].sum() for keep in left]
    return float(sums.sum() / counts.sum()), np.array(without)
