"""What the sweeps are tested on is what is spoilt here."""

from integration.conftest import runs, workspace  # noqa: F401
