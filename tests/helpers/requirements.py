"""What some tests need besides Python; where it is absent they are skipped."""

import os
import shutil
import subprocess

import pytest

#: Debian packages, and the programs that each provides.
PACKAGES = {
    "chromium": ("chromium", "google-chrome", "chromium-browser"),
    "munge": ("munged",),
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch"),
}
INSTALL, ROOT = "apt-get install ", "run as root, where root may mount disks"
#: Where daemons are, which an ordinary user's PATH may lack.
SBIN = ("/usr/sbin", "/sbin")


def browser():
    """The path of a browser, or skip."""
    path = next(filter(None, map(shutil.which, PACKAGES["chromium"])), None)
    return path or pytest.skip(f"{INSTALL}chromium")


def slurm():
    """Skip where no Slurm can be started for a test."""
    missing = [
        package
        for package in ("munge", "slurm-wlm")
        if not all(map(_is_installed, PACKAGES[package]))
    ]
    if missing:
        pytest.skip(INSTALL + " ".join(missing))
    if os.path.lexists("/etc/slurm/slurm.conf"):
        pytest.skip("remove /etc/slurm/slurm.conf, unless it is a real cluster's")
    mounting()


def _is_installed(program):
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(SBIN))


def mounting():
    """Skip where this process may not mount a disk."""
    program = shutil.which("unshare")
    words = [program, "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if program is None or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip(ROOT)


def closing_line(skipped):
    """One line that names skipped tests and says how to run them.

    Parameters
    ----------
    skipped : list of (str, str)
        File and reason of every skipped test.
    """
    files = {file: sum(one == file for one, _ in skipped) for file, _ in sorted(skipped)}
    named = ", ".join(f"{file} ({n})" for file, n in files.items())
    reasons = {reason for _, reason in skipped}
    packages = {word for one in reasons for word in one.partition(INSTALL)[2].split()}
    remedies = [INSTALL + " ".join(sorted(packages))] if packages else []
    remedies += sorted(one for one in reasons if not one.startswith(INSTALL))
    return f"skipped: {named}; to run them: {'; '.join(remedies)}"
