"""The command line has a subcommand for every step, and reports expected failures in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from helpers import miniatures
from shapesweep import cli


def test_checkpoint_command_describes_a_checkpoint(tmp_path, make_checkpoint, capsys):
    make_checkpoint(tmp_path)
    assert cli.main(["checkpoint", str(tmp_path)]) == 0
    assert "LlamaForCausalLM (decoder)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "described"),
    [
        # XLM ignores padding, whose id is 2.
        ("XLMWithLMHeadModel", "(encoder), 2 blocks"),
        ("T5ForConditionalGeneration", "(encoder and decoder), 2 and 2 blocks"),
        ("MambaForCausalLM", "(decoder), 2 blocks"),
    ],
)
def test_checkpoint_is_described_by_its_blocks(tmp_path, capsys, name, described):
    miniatures.make(name).save_pretrained(tmp_path)
    assert cli.main(["checkpoint", str(tmp_path)]) == 0
    assert f"{name} {described}, " in capsys.readouterr().out


def test_model_of_images_is_refused_in_one_line(tmp_path, capsys):
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    assert cli.main(["checkpoint", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(f"{tmp_path}: ViTModel does not read tokens\n")


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
