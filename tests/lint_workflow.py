"""Run `snakemake --lint`, and fail on every unexpected finding.

python tests/lint_workflow.py [SNAKEFILE]
"""

import re
import subprocess
import sys

#: No rule defines an environment. Every rule runs in the environment of the package.
ENVIRONMENT = "Specify a conda environment or container for each rule."
#: Rules without a log, because Snakemake itself writes their output.
RENDERED = {"config", "settings", "record"}


def lints(snakefile):
    """Return the unexpected findings, as pairs of a rule (or None) and a finding."""
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
    return [pair for pair in found if pair[1] != ENVIRONMENT and pair not in no_log]


if __name__ == "__main__":
    left = lints(sys.argv[1] if len(sys.argv) > 1 else "Snakefile")
    sys.exit("\n".join(f"rule {rule}: {lint}" for rule, lint in left) or 0)
