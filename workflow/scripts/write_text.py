"""Write a rule's parameter `text` to its output."""

from pathlib import Path

Path(snakemake.output[0]).write_text(snakemake.params.text, encoding="utf-8")  # noqa: F821
