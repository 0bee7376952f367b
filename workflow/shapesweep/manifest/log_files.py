"""Read the entries of a log from a file in CSV, JSON, or JSON lines.

An incomplete last line is skipped, because a running training may be writing it.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from shapesweep.errors import ShapesweepError

#: Values by the name of their column.
Entry = Mapping[str, Any]

#: The columns of a scalar that TensorBoard exports.
_TENSORBOARD = ("Wall time", "Step", "Value")
#: A number that does not end with a point or an exponent without digits.
_NUMBER = re.compile(r"[-+.\de]*\d|nan|[-+]?inf(inity)?", re.IGNORECASE)


def entries_of(name: str, data: bytes) -> list[Entry]:
    """Return the entries of a log.

    Parameters
    ----------
    name : str
        Name of the file. TensorBoard writes the name of a scalar into it.
    data : bytes

    Raises
    ------
    ShapesweepError
        If the file is damaged, or has an unknown suffix or two columns of the same name.
    """
    stem, dot, suffix = name.rpartition(".")
    read = _FORMATS.get(dot + suffix.lower())
    if read is None:
        raise ShapesweepError("the suffix of a log must be .json, .jsonl or .csv")
    with suppress(ValueError, KeyError, TypeError, RecursionError, csv.Error):
        entries = read(data)
        if all(isinstance(entry, dict) for entry in entries):
            return [_tagged(entry, stem) for entry in entries]
    raise ShapesweepError(
        f"damaged: its contents are not a log in the format {dot}{suffix.lower()} (UTF-8)"
    )


def _tagged(entry: Entry, stem: str) -> Entry:
    """Return an entry; if it is of TensorBoard, name its value by the tag in the file's name.

    TensorBoard names the file of a scalar `run-<run>-tag-<tag>`. Without a tag, the value is a
    loss.
    """
    if tuple(entry) != _TENSORBOARD:
        return entry
    tag = re.search(r"-tag-(.+?)( ?\(\d+\))?$", stem)
    return dict(zip((*_TENSORBOARD[:2], tag[1] if tag else "loss"), entry.values(), strict=True))


def _from_json(data: bytes) -> list[Any]:
    try:
        found = json.loads(data)
    except ValueError:
        # MMEngine writes one object per line.
        entries = _from_lines(data)
        if not entries:
            raise
        return entries
    if isinstance(found, list):
        return [
            dict(zip(_TENSORBOARD, entry, strict=True)) if isinstance(entry, list) else entry
            for entry in found
        ]
    return [entry for entry in found["log_history"] if "loss" in entry]


def _from_lines(data: bytes) -> list[Any]:
    *lines, last = data.decode("utf-8-sig").split("\n")
    entries = [json.loads(line) for line in lines if line.strip()]
    with suppress(ValueError):
        entries += [json.loads(last)] if last.strip() else []
    if not entries and last.strip() and not last.lstrip().startswith("{"):
        raise ValueError
    return entries


def _from_csv(data: bytes) -> list[Any]:
    # Cells are read as strings, so that an empty cell differs from a NaN.
    text = data.decode("utf-8-sig").lstrip("\r\n")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    lines = io.StringIO(text, newline="")
    columns, *rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise ShapesweepError(f"has two columns {twice}; keep the column of one run")
    if len(rows) > 1 and not text.endswith(("\n", "\r")) and _is_cut(rows):
        del rows[-1]
    # A line with more cells than columns is damaged.
    intact = [row for row in rows if not any(row[len(columns) :])]
    if rows and not intact:
        raise ValueError
    # A program that was started again may have written its columns again.
    return [dict(zip(columns, row, strict=False)) for row in intact if row and row != columns]


def _is_cut(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the last row, which has no line end, seems to be incomplete.

    In a column of numbers, its last cell is then no number, or shorter than all other cells.
    """
    *others, last = (row for row in rows if row)
    place = len(last) - 1
    cells = [row[place] for row in others if len(row) > place and row[place]]
    if not last[-1] or not all(_NUMBER.fullmatch(cell.strip()) for cell in cells):
        return False
    is_number = _NUMBER.fullmatch(last[-1].strip())
    return not is_number or (bool(cells) and len(last[-1]) < min(map(len, cells)))


_FORMATS = {".json": _from_json, ".jsonl": _from_lines, ".csv": _from_csv}
