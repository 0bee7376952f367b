"""Name the stacks of encoder-decoders as runs, so that each stack has its own curves."""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

#: Function that takes a suite, a run and revisions, and returns rows of `schemas.REPLICATES`.
Replicates = Callable[[str, str, Sequence[str]], pd.DataFrame]


class Stacks:
    """The stacks of the encoder-decoders of a sweep, named as runs.

    The curves of a stack have the name of its run with the name of the stack, such as `t5 encoder`.

    Parameters
    ----------
    geometry : pandas.DataFrame
        `schemas.GEOMETRY`.
    """

    def __init__(self, geometry: pd.DataFrame) -> None:
        named = geometry[["suite", "run", "stack"]].drop_duplicates().dropna()
        #: For every run in the curves, the run and the stack.
        self._of = {
            (suite, f"{run} {stack}"): (run, stack)
            for suite, run, stack in named.itertuples(index=False, name=None)
        }

    def geometry(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return `schemas.GEOMETRY` with the stacks named as runs."""
        # `table.stack` is a method.
        stack = table["stack"]
        if stack.isna().all():
            return table
        return table.assign(run=table.run.where(stack.isna(), table.run + " " + stack.fillna("")))

    def replicates(self, read: Replicates) -> Replicates:
        """Return a function that reads the replicates of a run, or of a stack named as a run."""

        def of(suite: str, run: str, revisions: Sequence[str]) -> pd.DataFrame:
            name, stack = self._of.get((suite, run), (run, None))
            found = read(suite, name, revisions)
            if stack is not None:
                found = found[found["stack"] == stack]
            return found.assign(run=run)

        return of

    def repeated(self, table: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """Repeat the rows of an encoder-decoder for each of its stacks.

        Parameters
        ----------
        table : pandas.DataFrame
            A table with the column `suite`, and one row or more per run.
        *columns : str
            Columns that contain names of runs.
        """
        return pd.concat([table, *self._copies(table, columns)], ignore_index=True)

    def _copies(self, table: pd.DataFrame, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for (suite, name), (run, stack) in self._of.items():
            rows = table[(table.suite == suite) & (table[columns[0]] == run)]
            if len(rows):
                named = {column: rows[column] + f" {stack}" for column in columns[1:]}
                yield rows.assign(**{columns[0]: name}, **named)
