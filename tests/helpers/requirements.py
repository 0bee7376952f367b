"""Programs other than Python that some tests need. A test is skipped if its program is missing."""

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[1] / "slurm/cluster"
#: Debian packages, and the programs that each package installs.
PACKAGES = {
    "chromium": ("chromium", "google-chrome", "chromium-browser"),
    "munge": ("munged",),
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch"),
}
INSTALL, ROOT = "apt-get install ", "run as root on a machine where root may mount disks"
#: Folders that contain daemons. An ordinary user's PATH may lack these folders.
SBIN = ("/usr/sbin", "/sbin")


def browser():
    """Return the path of a browser, or skip the test if there is none."""
    path = next(filter(None, map(shutil.which, PACKAGES["chromium"])), None)
    return path or pytest.skip(f"{INSTALL}chromium")


def slurm():
    """Skip the test if Slurm cannot be started."""
    packages = ("munge", "slurm-wlm")
    missing = [name for name in packages if not all(map(_is_installed, PACKAGES[name]))]
    if missing:
        pytest.skip(INSTALL + " ".join(missing))
    if subprocess.run([CLUSTER, "check", ""], check=False, capture_output=True).returncode:
        pytest.skip("remove /etc/slurm/slurm.conf, unless it belongs to a real cluster")
    mounting()


def _is_installed(program):
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(SBIN))


def mounting():
    """Skip the test if this process has no permission to mount a disk."""
    program = shutil.which("unshare")
    words = [program, "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if program is None or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip(ROOT)


def closing_line(skipped):
    """Return a line that lists the skipped tests and says how to run them.

    Parameters
    ----------
    skipped : list of (str, str)
        File and reason of every skipped test.
    """
    counts = Counter(file for file, _ in sorted(skipped))
    named = ", ".join(f"{file} ({n})" for file, n in counts.items())
    reasons = {reason for _, reason in skipped}
    packages = {word for reason in reasons for word in reason.partition(INSTALL)[2].split()}
    remedies = [INSTALL + " ".join(sorted(packages))] if packages else []
    remedies += sorted(reason for reason in reasons if not reason.startswith(INSTALL))
    return f"skipped: {named}; to run them: {'; '.join(remedies)}"
