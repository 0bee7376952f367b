"""Lists for the page: the missing checkpoints, and the origins of the numbers."""

from typing import Any

import pandas as pd

from shapesweep.storage import axis, failures
from shapesweep.storage.axis import Runs


def integrity(missing: pd.DataFrame, manifest: pd.DataFrame) -> list[dict[str, str]]:
    """List checkpoints that are doubtful or were not measured, and problems in the manifest.

    Parameters
    ----------
    missing : pandas.DataFrame
        The table `curves/missing.parquet`, with the schema `MISSING`.
    manifest : pandas.DataFrame
        The manifest of all suites, with the schema `MANIFEST`.

    Returns
    -------
    list of dict
        Each with `suite`, `checkpoint`, `what` (result of `failures.kind`, or "manifest") and
        `reason`.
    """
    lines, on_tokens = [], axis.runs_on_tokens(manifest)
    for row in missing.sort_values("measured", kind="stable").itertuples():
        lines.append(_line(row, failures.kind(row), failures.explanation(row), on_tokens))
    reasons = {(row["suite"], row["checkpoint"]): row["reason"] for row in lines}
    for row in manifest.itertuples():
        status = ", ".join(row.status if row.status is not None else [])
        line = _line(row, "manifest", status, on_tokens)
        # Skip a status that is already part of the reason for the checkpoint's failure.
        if status and status not in reasons.get((line["suite"], line["checkpoint"]), ""):
            lines.append(line)
    return lines


def checkpoints(manifest: pd.DataFrame, origins: pd.DataFrame) -> list[dict[str, Any]]:
    """List every selected checkpoint, with commit, step, tokens and bytes.

    Parameters
    ----------
    manifest, origins : pandas.DataFrame
        Tables of all suites, with the schemas `MANIFEST` and `ORIGINS`.

    Returns
    -------
    list of dict
        Each with suite, run, revision, repository, commit, step, tokens and bytes. Nulls are None.
        `step` is None if the run is on tokens.
        `commit` is the commit that was measured. If no commit is recorded for the measurement,
        `commit` is the commit in the manifest.
    """
    key = ["suite", "run", "revision"]
    chosen = manifest[manifest.selected.astype(bool)]
    measured = origins[[*key, "commit"]].drop_duplicates(key)
    joined = chosen.merge(measured, on=key, how="left", suffixes=("", "_measured"))
    joined["commit"] = joined.commit_measured.fillna(joined.commit)
    joined["step"] = joined.step.mask(axis.is_of(joined, axis.runs_on_tokens(manifest)))
    names = [*key, "repository", "commit", "step", "tokens", "bytes"]
    return _records(joined[names])


def corpora(origins: pd.DataFrame) -> list[dict[str, Any]]:
    """List every corpus with its digests, its seed, and the number of measured checkpoints."""
    digests = ["text_sha256", "corpus_digest", "corpus_seed"]
    return _counted(origins, ["suite", "run", "corpus", *digests])


def versions(origins: pd.DataFrame) -> list[dict[str, Any]]:
    """List each combination of device and package versions, with the number of its checkpoints."""
    return _counted(origins, ["device", "shapesweep", "torch", "transformers"])


def seeds(profiles: pd.DataFrame) -> list[dict[str, Any]]:
    """List every measured run with its model, seed, class and number of blocks."""
    single = profiles[profiles.over == "documents"]
    names = ["suite", "run", "model", "seed", "architecture", "family", "n_layers"]
    return _records(single[names].drop_duplicates())


def _line(row: Any, what: str, reason: str, on_tokens: Runs) -> dict[str, str]:
    name = failures.name(row, on_tokens)
    return {"suite": row.suite, "checkpoint": name, "what": what, "reason": reason}


def _counted(origins: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    each = origins[["suite", "run", "revision", *names]]
    each = each.loc[:, ~each.columns.duplicated()].drop_duplicates()
    found = each.groupby(names, sort=False, dropna=False).size()
    return _records(found.rename("checkpoints").reset_index())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
