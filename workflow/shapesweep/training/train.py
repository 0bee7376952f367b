"""Train the runs of an embedded suite, on this machine and offline.

The result is a Trainer's output folder. Its folders `checkpoint-<step>/` contain the weights, the
tokenizer and `trainer_state.json`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep import progress
from shapesweep.config.suite import RECIPE, EmbeddedSuite, TrainedRun
from shapesweep.corpora import special_tokens, stdlib_text
from shapesweep.errors import ShapesweepError
from shapesweep.storage import atomic

BOS, CLS, SEP, MASK, PAD = SPECIALS = ["<s>", "[CLS]", "[SEP]", "[MASK]", "[PAD]"]


def train(suite: EmbeddedSuite, run_name: str, folder: str | Path) -> None:
    """Train a run of an embedded suite from scratch.

    If a suite is trained again with the same number of threads, its checkpoints are identical.

    Parameters
    ----------
    suite : EmbeddedSuite
    run_name : str
    folder : path-like
        Output folder, written atomically.
    """
    import torch
    import transformers

    run = suite.runs[run_name]
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    config = _config(run.model, suite)
    # Test whether the model is masked, not whether it is causal: the mapping of causal models also
    # contains encoders such as BERT.
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    tokenizer = make_tokenizer(stdlib_text("training"), suite.vocabulary, masked)
    documents = packed(stdlib_text("training"), tokenizer, suite.document_length)
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id = config.eos_token_id = tokenizer.bos_token_id
    config.cls_token_id, config.sep_token_id = tokenizer.cls_token_id, tokenizer.sep_token_id

    transformers.set_seed(run.seed)
    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32)
    collator = transformers.DataCollatorForLanguageModeling(
        tokenizer, mlm=masked, mlm_probability=run.masked_share if masked else None
    )
    with atomic.folder(folder) as partial:
        recipe = suite.with_run(run_name).model_dump_json()
        (partial / RECIPE).write_text(recipe, encoding="utf-8")
        if 0 in suite.steps:
            # The Trainer does not save a checkpoint before the first step.
            start = partial / "checkpoint-0"
            model.save_pretrained(start)
            tokenizer.save_pretrained(start)
            transformers.TrainerState().save_to_json(start / "trainer_state.json")
        if max(suite.steps) > 0:
            with progress.bar(max(suite.steps), "training", "steps") as shown:
                trainer = transformers.Trainer(
                    model=model,
                    args=_arguments(suite, run, partial),
                    train_dataset=[{"input_ids": document} for document in documents],
                    processing_class=tokenizer,
                    data_collator=collator,
                    callbacks=_callbacks(suite, tokenizer, shown),
                )
                trainer.train()
                trainer.save_state()


def _arguments(suite: EmbeddedSuite, run: TrainedRun, folder: Path) -> Any:
    import transformers

    return transformers.TrainingArguments(
        output_dir=folder,
        max_steps=max(suite.steps),
        per_device_train_batch_size=suite.batch_size,
        lr_scheduler_type="constant_with_warmup",
        logging_steps=suite.logging_steps,
        # Losses that are not finite must be visible in the log.
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_only_model=True,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **run.model_dump(exclude={"model", "masked_share"}),
    )


def make_tokenizer(text: str, vocabulary: int, masked: bool) -> Any:
    """Train a byte-level BPE tokenizer on a text.

    Parameters
    ----------
    text : str
    vocabulary : int
        Number of entries, including the special tokens and one entry for each value of a byte.
    masked : bool
        Whether the tokenizer is for an encoder. A tokenizer for an encoder adds CLS before a text
        and SEP after it. All other tokenizers add BOS before the text.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        text.split("\n\n"),
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=SPECIALS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    single, used = (f"{CLS} $A {SEP}", [CLS, SEP]) if masked else (f"{BOS} $A", [BOS])
    bpe.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, bpe.token_to_id(token)) for token in used]
    )
    of_encoder = {"cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
    names = of_encoder if masked else {"bos_token": BOS}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, **names)


def _config(model: dict[str, Any], suite: EmbeddedSuite) -> Any:
    import transformers

    try:
        return transformers.AutoConfig.for_model(**{"vocab_size": suite.vocabulary, **model})
    except (ValueError, TypeError) as error:
        raise ShapesweepError(f"runs: model: {str(error).splitlines()[0]}") from None


def packed(text: str, tokenizer: Any, length: int) -> NDArray[np.int64]:
    """Cut a text into packed documents, each with the special tokens of the tokenizer.

    Returns
    -------
    ndarray of int64, shape (n_documents, length)
    """
    prefix, suffix = special_tokens(tokenizer, text)
    pieces = tokenizer(text.split("\n\n"), add_special_tokens=False, verbose=False)["input_ids"]
    newline = tokenizer("\n\n", add_special_tokens=False)["input_ids"]
    stream = np.concatenate([np.array(piece + newline, dtype=np.int64) for piece in pieces])
    body = length - len(prefix) - len(suffix)
    bodies = stream[: len(stream) // body * body].reshape(-1, body)
    before, after = (np.tile(side, (len(bodies), 1)) for side in (prefix, suffix))
    return np.concatenate([before, bodies, after], axis=1)


def _callbacks(suite: EmbeddedSuite, tokenizer: Any, shown: Any) -> list[Any]:
    from shapesweep.training.probe import Probe
    from shapesweep.training.probe_callback import ProbeCallback
    from shapesweep.training.save_callbacks import AroundOnset, AtSteps

    callbacks: list[Any] = [AtSteps(suite.steps, shown)]
    if suite.onset:
        callbacks.append(AroundOnset(suite.onset, suite.steps))
    if suite.probe:
        held_out = packed(stdlib_text("measuring"), tokenizer, suite.document_length)
        # Choose documents that are evenly spread over the text.
        chosen = np.linspace(0, len(held_out) - 1, suite.probe.documents).astype(int)
        callbacks.append(ProbeCallback(Probe(held_out[chosen]), suite.probe.every))
    return callbacks
