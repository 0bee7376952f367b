"""Compute a language model's losses on documents, for next tokens or masked tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.checkpoint.forward import forward, to_batch
from shapesweep.checkpoint.hidden_states import Anatomy
from shapesweep.corpora import Corpus
from shapesweep.estimators import jackknife

MASKED_SHARE = 0.15

#: For each document, the sum and the count of its losses, shape (2, n_documents).
Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """The loss of a causal model, which predicts every token from earlier tokens.

    Attributes
    ----------
    n_tokens : int
        Size of the vocabulary. Logits over fewer classes are not those of tokens.
    is_partial : bool
        Whether a head of the model is missing. Logits that are NaN then do not count.
    """

    n_tokens: int
    is_partial: bool

    def tokens(self, batch: Any, documents: Sequence[int]) -> Any:
        """Return the model's input for a batch of documents: the batch itself."""
        return batch

    def sums(self, output: Any, batch: Any, documents: Sequence[int]) -> Sums | None:
        """Return the sum and the count of each document's losses; None if there are no logits."""
        logits = self.logits(output, batch)
        return None if logits is None else next_token(logits, batch)

    def logits(self, output: Any, batch: Any) -> Any:
        """Return the logits of tokens; None if the model has no head that predicts tokens."""
        # BertForPreTraining has two heads. It returns the logits of tokens as `prediction_logits`.
        logits = output.get("prediction_logits", output.get("logits"))
        if logits is None or logits.shape[:-1] != batch.shape or logits.shape[-1] < self.n_tokens:
            return None
        return None if self.is_partial and logits.isnan().all() else logits


@dataclass(frozen=True)
class Masked(Loss):
    """The loss of an encoder, which predicts masked tokens.

    Attributes
    ----------
    masks : list of ndarray of bool
        Masks of all documents of the corpus.
    mask_token : int
    """

    masks: list[NDArray[np.bool_]]
    mask_token: int

    def tokens(self, batch: Any, documents: Sequence[int]) -> Any:
        """Return the batch with the mask token in place of masked tokens."""
        return batch.masked_fill(self._mask(batch, documents), self.mask_token)

    def sums(self, output: Any, batch: Any, documents: Sequence[int]) -> Sums | None:
        """Return the sum and the count of the losses of each document's masked tokens."""
        import torch

        logits = self.logits(output, batch)
        if logits is None:
            return None
        mask = self._mask(batch, documents)
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2).float(), batch, reduction="none"
        )
        return np.stack([(losses * mask).sum(1).cpu().numpy(), mask.sum(1).cpu().numpy()])

    def _mask(self, batch: Any, documents: Sequence[int]) -> Any:
        import torch

        return torch.from_numpy(np.stack([self.masks[n] for n in documents])).to(batch.device)


def loss_of(model: Any, anatomy: Anatomy, corpus: Corpus, mask_token: int | None) -> Loss | None:
    """Return the loss of a model, or None if the model has no loss.

    Causal models predict the next token, and other models predict masked tokens. Bidirectional
    models of a class for causal models have no loss, because it is not known what they predict. The
    masked tokens depend only on the seed of the corpus, so they are the same for every
    checkpoint.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    anatomy : Anatomy
    corpus : Corpus
    mask_token : int or None
        Id of the mask token of the tokenizer.
    """
    named = type(model).__name__
    about = (
        getattr(model.config.get_text_config(), "vocab_size", 0),
        bool(getattr(model, "missing_weights", ())),
    )
    if anatomy.causal and not named.endswith("ForMaskedLM"):
        return Loss(*about)
    if mask_token is None or named.endswith("ForCausalLM"):
        return None
    return Masked(*about, masks(corpus, corpus.seed), mask_token)


def run(
    model: Any,
    corpus: Corpus,
    batch_tokens: int,
    loss: Loss | None = None,
    documents: Sequence[int] | None = None,
    watch: Callable[[list[int], Any], None] | None = None,
) -> Sums | None:
    """Run a model on documents of a corpus, batch by batch.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    corpus : Corpus
    batch_tokens : int
        Number of tokens per batch.
    loss : Loss, optional
    documents : sequence of int, optional
        Indices of the documents; by default all documents.
    watch : callable, optional
        Called after each batch with the indices of its documents and the output of the model.

    Returns
    -------
    ndarray of float64, shape (2, n_documents), or None
        Sum and count of the losses of each document; None if there is no loss.
    """
    numbers = range(len(corpus.documents)) if documents is None else documents
    bodies = [corpus.documents[n] for n in numbers]
    sums = []
    for chosen in corpus.batches(batch_tokens, bodies):
        members = [int(numbers[i]) for i in chosen]
        batch = to_batch(model, [bodies[i] for i in chosen])
        output = forward(model, loss.tokens(batch, members) if loss else batch)
        if watch:
            watch(members, output)
        found = loss.sums(output, batch, members) if loss else None
        if found is not None:
            sums.append(found)
    return np.concatenate(sums, axis=1) if sums else None


def next_token(logits: Any, batch: Any) -> Sums:
    """Compute the sum and the count of the next-token losses of each document.

    Parameters
    ----------
    logits : torch.Tensor, shape (n_documents, n_tokens, n_vocabulary)
    batch : torch.Tensor of int64, shape (n_documents, n_tokens)

    Returns
    -------
    ndarray of float64, shape (2, n_documents)
    """
    import torch

    # Process one document at a time, because the probabilities of a whole batch over a large
    # vocabulary need a gigabyte.
    sums = [
        torch.nn.functional.cross_entropy(each[:-1].float(), tokens[1:], reduction="none").sum()
        for each, tokens in zip(logits, batch, strict=True)
    ]
    counts = np.full(len(batch), batch.shape[1] - 1)
    return np.stack([torch.stack(sums).cpu().numpy(), counts])


def masks(corpus: Corpus, seed: int) -> list[NDArray[np.bool_]]:
    """Draw the masks of all documents; they are the same for every checkpoint."""
    rng = np.random.default_rng([seed, 3])
    found = []
    for document in corpus.documents:
        body = np.arange(corpus.n_prefix, len(document) - corpus.n_suffix)
        n_masked = max(1, round(MASKED_SHARE * len(body)))
        mask = np.zeros(len(document), dtype=bool)
        mask[rng.choice(body, n_masked, replace=False)] = True
        found.append(mask)
    return found


def mean(totals: Sums, n_groups: int) -> tuple[float, NDArray[np.float64]]:
    """Compute the mean loss over all tokens, and its jackknife replicates.

    Parameters
    ----------
    totals : ndarray of float64, shape (2, n_documents)
    n_groups : int

    Returns
    -------
    value : float
    without : ndarray of float64, shape (min(n_groups, n_documents),)
        The mean loss with each group of documents left out in turn.
    """
    sums, counts = totals
    n_groups = min(n_groups, len(sums))
    groups = jackknife.assign_groups(np.arange(len(sums)), n_groups)
    left = (groups != g for g in range(n_groups))
    without = [sums[keep].sum() / counts[keep].sum() for keep in left]
    return float(sums.sum() / counts.sum()), np.array(without)
