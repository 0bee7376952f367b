"""Definitions of suites on the Hub, and the checkpoints that they find in a listing."""

from pathlib import Path

import yaml

from helpers.plans import HUB
from shapesweep.config.suite import SUITE
from shapesweep.hub import listing, runs
from shapesweep.hub.revisions import Repository
from shapesweep.storage.files import File

REGISTRY = Path("workflow/shapesweep/suites")
DEFINITION = {**HUB, "repositories": ["org/{a,b}"]}


def load(name):
    """Return a suite of the registry."""
    return SUITE.validate_python(yaml.safe_load((REGISTRY / f"{name}.yaml").read_text("utf-8")))


def define(**more):
    """Return a suite with two repositories."""
    return SUITE.validate_python(DEFINITION | more)


def listed_as(suite, repository, *names):
    """Return the checkpoints that a suite finds in a repository with the given revision names."""
    tree = [File("config.json", 2, None, "a"), File("model.safetensors", 9, "b", "c")]
    commits = {name: f"{k:040}" for k, name in enumerate(names)}
    refs = {"tags": commits} if suite.mode == "tags" else {"branches": commits}
    listed = Repository(**refs, trees=dict.fromkeys(commits.values(), tree))
    return find(suite, {repository: listed})


def find(suite, listed):
    """Return the checkpoints that a suite finds in listed repositories."""
    return runs.checkpoints(suite, listed, listing.groups(suite, listed))


def placed(suite, *names):
    """Return the revision, step and tokens of every checkpoint, in the order of the listing."""
    return [(c.revision, c.step, c.tokens) for c in listed_as(suite, "org/a", *names)]
