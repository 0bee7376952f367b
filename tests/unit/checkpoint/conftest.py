"""Fixtures for the tests of adapters."""

import pytest

from helpers.adapters import save_base


@pytest.fixture
def folders(tmp_path):
    """The folders of an adapter, which is empty, and of its base model."""
    save_base(tmp_path / "base")
    return tmp_path / "adapter", tmp_path / "base"
