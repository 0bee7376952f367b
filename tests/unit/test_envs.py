"""The same versions are pinned for pip, conda and the package, and are installed here."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml

from helpers import requirements

ROOT = Path(__file__).parents[2]
PINS = dict(
    re.fullmatch(r"([A-Za-z0-9_-]+)==([0-9.]+)", line).groups()
    for line in (ROOT / "envs/requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)


def test_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs/environment.yaml").read_text(encoding="utf-8"))
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert [d.split()[0] for d in conda] == ["python", "pip"]
    assert dict(pin.split("==") for pin in pip) == PINS


def test_package_reads_the_same_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["dependencies"]
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]
    assert hook["files"] == ["envs/requirements.txt"]


def test_wheel_holds_the_workflow_and_all_data(tmp_path):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())

    def files(*folders):
        found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        found = [path for path in found if path.is_file() and path.suffix != ".pyc"]
        return {path.relative_to(ROOT).as_posix() for path in found}

    data = {name.removeprefix("workflow/") for name in files("workflow/shapesweep")}
    assert data <= held
    rules = files("workflow/rules", "workflow/report", "workflow/schemas", "profiles")
    assert {f"shapesweep/workflow/{name}" for name in rules | {"workflow/Snakefile"}} <= held


def test_installed_versions_are_the_pinned_versions():
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in PINS}
    assert installed == PINS


def test_promised_versions_are_pinned():
    promised = {"snakemake": "9.27", "torch": "2.13", "transformers": "5.23", "pandas": "3.1"}
    promised |= {"huggingface_hub": "2.4", "pyarrow": "26", "numpy": "2.4", "matplotlib": "3.11"}
    for name, version in promised.items():
        assert f"{PINS[name]}.".startswith(f"{version}.")


def test_only_the_link_that_a_killed_slurm_test_left_is_replaced(tmp_path):
    def check(folder):
        link.unlink(missing_ok=True)
        link.symlink_to(folder / "slurm.conf")
        environment = {"SLURM_LINK": str(link), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        words = [requirements.CLUSTER, "check", ""]
        return subprocess.run(words, env=environment, capture_output=True).returncode

    link, folder = tmp_path / "slurm.conf", tmp_path / "pytest-0/slurm0"
    assert check(Path("/nfs/slurm")) == 1
    assert check(folder) == 0
    # The test process acts as a running Slurm daemon, with the daemon's executable and PID.
    folder.mkdir(parents=True)
    (tmp_path / "slurmctld").symlink_to(sys.executable)
    (folder / "slurmctld.pid").write_text(str(os.getpid()), encoding="utf-8")
    assert check(folder) == 1
