"""Run `shapesweep measure` on files."""

import json

from shapesweep import cli


def measure(capsys, *arguments):
    """Return the numbers of every file."""
    assert cli.main(["measure", "--json", *map(str, arguments)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
