"""Run `snakemake --lint`, and fail on all that this workflow does not do on purpose.

python tests/lint_workflow.py [SNAKEFILE]
"""

import re
import subprocess
import sys

#: All rules run in the environment that the package is installed in.
ENVIRONMENT = "Specify a conda environment or container for each rule."
#: Rules whose output Snakemake writes by itself have no log.
RENDERED = {"config", "settings", "record"}


def lints(snakefile):
    """Pairs of rule and lint, without those that are on purpose; None for no rule."""
    words = ["snakemake", "--lint", "--snakefile", snakefile]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    found, rule = [], None
    for line in (done.stdout + done.stderr).splitlines():
        if named := re.match(r"Lints for (?:rule|checkpoint) (\w+)", line):
            rule = named[1]
        elif lint := re.match(r"    \* (.*):$", line):
            found.append((rule, lint[1]))
    if not found:
        raise RuntimeError(f"snakemake --lint: {done.stdout}{done.stderr}")
    no_log = {(rule, "No log directive defined") for rule in RENDERED}
    return [one for one in found if one[1] != ENVIRONMENT and one not in no_log]


if __name__ == "__main__":
    left = lints(sys.argv[1] if len(sys.argv) > 1 else "Snakefile")
    sys.exit("\n".join(f"rule {rule}: {lint}" for rule, lint in left) or 0)
