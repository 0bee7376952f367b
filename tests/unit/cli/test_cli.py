"""The command line has a subcommand for every step, and reports expected failures in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from shapesweep import cli


def test_checkpoint_command_describes_a_checkpoint(tmp_path, make_checkpoint, capsys):
    make_checkpoint(tmp_path)
    assert cli.main(["checkpoint", str(tmp_path)]) == 0
    assert "LlamaForCausalLM (decoder)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("checkpoint absent", "absent: there is no such folder"),
        ("manifests --config absent.yaml --results r", "absent.yaml: no such file"),
        ("manifest --plan absent.json --results r --out x", "absent.json: "),
        (
            "geometry --settings absent.yaml --manifest m --run r --revision v --out x",
            "absent.yaml: no such file",
        ),
        (
            "join --plans absent.json --manifests m --history h --results r --out x",
            "absent.json: ",
        ),
        ("curves --tables absent --tested {} --out x", "geometry.parquet: no such file"),
        ("figures dome --curves absent --out x", "no such file"),
    ],
)
def test_expected_failure_gives_one_line_and_status_2(command, message, capsys):
    assert cli.main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("shapesweep: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_help_lists_the_subcommands():
    program = Path(sys.executable).with_name("shapesweep")
    text = subprocess.check_output([program, "--help"], text=True)
    commands = ("train", "manifest", "checkpoint", "activations", "geometry", "curves", "figures")
    for command in commands:
        assert command in text


def test_library_works_without_importing_torch():
    code = "import sys, shapesweep; shapesweep.anisotropy([[0, 1], [2, 3], [4, 9]]); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
