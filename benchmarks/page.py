"""Write generated parts of the documentation."""

from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs/reference"


def put(name, part, text):
    """Print a text, and write it to a page, between the comments of a part."""
    print(text, flush=True)
    path = REFERENCE / name
    begin, end = f"<!-- {part}: written by `make bench` -->", f"<!-- /{part} -->"
    head, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", encoding="utf-8")
