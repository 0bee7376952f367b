"""Write the plan of a suite. Earlier plans go: whatever was made from them is then made again."""

from pathlib import Path

path = Path(snakemake.output[0])  # noqa: F821
for earlier in path.parent.glob("*.json"):
    earlier.unlink()
path.write_text(snakemake.params.text, encoding="utf-8")  # noqa: F821
