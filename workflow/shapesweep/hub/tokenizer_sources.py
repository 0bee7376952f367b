"""Find the tokenizer of a run in the listing."""

from collections.abc import Iterator, Mapping, Sequence

from shapesweep.config.hub_suite import Repositories
from shapesweep.hub.files import tokenizer
from shapesweep.hub.revisions import Listed, Repository
from shapesweep.storage.files import File

#: A source of a tokenizer: repository, commit, files.
TokenizerSource = tuple[str, str, list[File]]


def tokenizer_sources(
    run: Sequence[Listed], listed: Mapping[str, Repository], group: Repositories
) -> Iterator[TokenizerSource]:
    """Yield the sources of the tokenizer of a run, best source first.

    If the suite names a repository for the tokenizer, this repository is the only source.
    Otherwise, the sources are `main`, and then the checkpoints from the last to the first.

    Parameters
    ----------
    run : sequence of Listed
    listed : dict of Repository
    group : Repositories
        The group of the run.

    Yields
    ------
    (str, str, list of File)
        Repository, commit and files of a source. Nothing is yielded if there is no tokenizer.
    """
    own = [(c.repository, c.commit, c.inside) for c in reversed(run) if c.commit]
    names = [group.tokenizer] if group.tokenizer else list(dict.fromkeys(name for name, *_ in own))
    mains = [(name, listed[name].branches.get("main", ""), "") for name in names if name in listed]
    for name, commit, folder in [*mains, *([] if group.tokenizer else own)]:
        files = tokenizer(listed[name].trees.get(commit) or [], folder)
        if files:
            yield name, commit, files
