"""Read and filter the tables in `<results>/curves/`, for figures and reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep.corpora import CorpusLabel
from shapesweep.storage import schemas, tables


def corpora(data: pd.DataFrame) -> list[str]:
    """Return the corpora of a table, with `text` first."""
    return sorted(dict.fromkeys(data.corpus.dropna()), key=lambda name: name != "text")


def rows(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Select the rows that have the given values; by default, only rows of single runs.

    If the wanted value is a list, any of its values matches; if it is a dict, any of its keys.
    """
    if "over" in table:
        wanted = {"over": "documents", **wanted}
    for name, value in wanted.items():
        table = table[table[name].isin([value] if isinstance(value, str) else list(value))]
    return table


def checkpoints(profiles: pd.DataFrame) -> pd.DataFrame:
    """Return the suite, run and revision of every measured checkpoint.

    The two stacks of an encoder-decoder belong to one run.
    """
    single = rows(profiles)
    # `single.stack` is a method.
    endings = " " + single["stack"].astype(object).fillna("")
    names = [run.removesuffix(end) for run, end in zip(single.run, endings, strict=True)]
    return single.assign(run=names)[["suite", "run", "revision"]].drop_duplicates()


#: Tables that only `snakemake spikes` writes.
OF_EXPLOSIONS = ("spikes", "spiked", "approaches", "warnings")


@dataclass(frozen=True)
class Curves:
    """The tables of `<results>/curves/`, by name."""

    profiles: pd.DataFrame
    trajectories: pd.DataFrame
    phases: pd.DataFrame
    moves: pd.DataFrame
    verdicts: pd.DataFrame
    shapes: pd.DataFrame
    distances: pd.DataFrame
    comparison: pd.DataFrame
    budgets: pd.DataFrame
    missing: pd.DataFrame
    #: Only `snakemake spikes` writes the following tables. If the file of a table is absent, the
    #: table is empty.
    spikes: pd.DataFrame
    spiked: pd.DataFrame
    approaches: pd.DataFrame
    warnings: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Curves":
        """Read all tables of a folder.

        Raises
        ------
        ShapesweepError
            If a table is absent or damaged.
        """
        found = {}
        for name in cls.__dataclass_fields__:
            path, schema = folder / f"{name}.parquet", getattr(schemas, name.upper())
            if name in OF_EXPLOSIONS and not path.exists():
                found[name] = schema.empty_table().to_pandas()
            else:
                found[name] = tables.read(path, schema)
        return cls(**found)

    @property
    def corpora(self) -> list[str]:
        """Corpora of all tokens, with `text` first, without variants and further samples."""
        names = corpora(self.profiles[self.profiles.pooling == "tokens"])
        return [name for name in names if CorpusLabel.parse(name).kind == name]

    @property
    def control(self) -> dict[str, str]:
        """The corpus and the selection with one token per document."""
        measured = set(self.profiles.corpus)
        corpus = "passages" if "passages" in measured else self.corpus
        return {"corpus": corpus, "selection": "one_per_document"}

    @property
    def corpus(self) -> str:
        """The corpus for figures that show a single corpus: `text`, if it is measured."""
        return (self.corpora or ["text"])[0]


#: Tables that the command `shapesweep curves` writes.
CURVES = tuple(name for name in Curves.__dataclass_fields__ if name not in OF_EXPLOSIONS)
