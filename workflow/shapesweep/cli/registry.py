"""The subcommand that checks the registry of suites, which is no step of a sweep."""

from __future__ import annotations

import argparse
import sys


def check_registry(arguments: argparse.Namespace) -> int:
    """Compare the registry of suites with the Hub, and record the date and the outcome."""
    from shapesweep.config import checked, registry
    from shapesweep.hub import registry_check
    from shapesweep.hub.errors import UnreachableError

    results: list[registry_check.Checked] = []
    suites, out = registry.published(arguments.suites), arguments.out or checked.CHECKED
    try:
        for result in registry_check.check(suites, arguments.calls, out):
            print(registry_check.as_table(result, is_first=not results), flush=True)
            results.append(result)
    except UnreachableError as error:
        print(f"shapesweep: error: {error}", file=sys.stderr)
        return 1
    print(registry_check.summary(results))
    return int(any(result.outcome != "agrees" for result in results))
