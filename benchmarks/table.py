"""Make the tables of `docs/reference/speed.md` from what pytest-benchmark has written.

usage: table.py results.json [results-other-setting.json ...]
"""

import json
import sys
from pathlib import Path

from page import put

#: What was promised before anything was timed: the peer, and its time over ours at least.
PROMISED = {
    "search, k = 2": {"faiss flat": 2, "scikit-learn brute": 3},
    "search, k = 64": {"faiss flat": 1, "scikit-learn brute": 2},
    "anisotropy": {"numpy's SVD": 5, "torch's SVD": 5},
    "the paper's ID": {"llm-microscope": 200},
}
SETTINGS = {
    "own": "Every library with the kernels that it chooses itself",
    "Haswell": "With `OPENBLAS_CORETYPE=Haswell`: AVX2 kernels in every OpenBLAS, numpy's too",
}


def main(paths):
    """Print the tables and put them into the page."""
    runs = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    sections = [section(run) for run in runs]
    put("speed.md", "speed", "\n".join([best(runs), *sections] if len(runs) > 1 else sections))


def best(runs):
    """Every program with the kernels that suit it best: the faster of its times in all settings."""
    fastest = {}
    in_all = [{name(one) for one in run["benchmarks"]} for run in runs]
    for run in runs:
        for one in run["benchmarks"]:
            known = fastest.setdefault(name(one), one)
            if one["stats"]["median"] < known["stats"]["median"]:
                fastest[name(one)] = one
    chosen = [one for key, one in fastest.items() if all(key in names for names in in_all)]
    title = "## Every program with the kernels that suit it best"
    said = "The faster of the two settings below, for each program by itself."
    return "\n".join([title, "", said, "", *table(chosen), ""])


def name(one):
    """Of a benchmark: what was timed, and whom."""
    return one["extra_info"]["what"], one["extra_info"]["who"]


def section(run):
    """The machine and a table a setting."""
    machine, benchmarks = run["machine_info"], run["benchmarks"]
    setting = benchmarks[0]["extra_info"]["setting"]
    lines = [
        f"## {SETTINGS.get(setting, setting)}",
        "",
        f"{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, numpy "
        f"{machine['numpy']}, torch {machine['torch']}, faiss {machine['faiss']}; "
        f"{'; '.join(machine['blas'])}. {run['datetime'][:10]}.",
        "",
    ]
    return "\n".join([*lines, *table(benchmarks), "", *memory(benchmarks)])


def table(benchmarks):
    """A row for each, grouped by what was timed."""
    lines = [
        "| what | who | median | fastest | times ours | promised |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    by_what = {}
    for one in benchmarks:
        by_what.setdefault(one["extra_info"]["what"], []).append(one)
    for what, group in by_what.items():
        ours = next(x for x in group if x["extra_info"]["who"] == "shapesweep")["stats"]["median"]
        for one in group:
            lines.append(row(what, one, ours))
    return lines


def row(what, one, ours):
    """A line of the table."""
    who, stats = one["extra_info"]["who"], one["stats"]
    ratio = stats["median"] / ours
    wanted = next((p for name, p in PROMISED.items() if what.startswith(name)), {}).get(who)
    said = "" if wanted is None else f"≥ {wanted}" + ("" if ratio >= wanted else ": **missed**")
    times = "" if who == "shapesweep" else f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"
    return (
        f"| {what} | {who} | {seconds(stats['median'])} | {seconds(stats['min'])} | {times} | "
        f"{said} |"
    )


def seconds(time):
    """Of a time, three digits."""
    return f"{time:.3g} s" if time >= 0.1 else f"{time * 1000:.3g} ms"


def memory(benchmarks):
    """What the largest cloud took."""
    for one in benchmarks:
        more = one["extra_info"]
        if "peak_memory" in more:
            peak, cloud, pairs = (more[k] / 1e9 for k in ("peak_memory", "cloud", "all_distances"))
            yield (
                f"{more['what']}: {seconds(one['stats']['median'])}, at most {peak:.1f} GB of "
                "memory, "
                f"{peak / cloud:.0f} times the cloud ({cloud:.2f} GB); all distances would be "
                f"{pairs:.0f} GB."
            )


if __name__ == "__main__":
    main(sys.argv[1:])
