"""The stand-in for the Hub that this process uses, and a repository with a single checkpoint."""

import pytest

from helpers.standin import WEIGHTS, serving_here
from shapesweep.hub import client


@pytest.fixture
def standin(monkeypatch, tmp_path):
    with serving_here(monkeypatch, tmp_path / "cache") as server:
        yield server


@pytest.fixture
def no_waits(monkeypatch):
    """Do not wait between attempts."""
    monkeypatch.setattr(client, "_wait", lambda _state: 0.0)


@pytest.fixture
def no_sleep(no_waits, monkeypatch):
    """Do not wait between attempts, also not if huggingface_hub itself repeats a request."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.fixture
def commit(standin):
    return standin.add("org/a", "step1", {"config.json": b"{}", "model.safetensors": WEIGHTS})
