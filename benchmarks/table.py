"""Write the tables of `docs/reference/speed.md` from the results of pytest-benchmark.

usage: table.py results.json [results-other-setting.json ...]
"""

import json
import sys
from pathlib import Path

from page import put

#: For each program, the minimum ratio of the program's time to shapesweep's time. These ratios were
#: promised before the programs were timed for the first time.
PROMISED = {
    "search, k = 2": {"faiss flat": 2, "scikit-learn brute": 3},
    "search, k = 64": {"faiss flat": 1, "scikit-learn brute": 2},
    "anisotropy": {"numpy's SVD": 5, "torch's SVD": 5},
    "the paper's ID": {"llm-microscope": 200},
}
SETTINGS = {
    "own": "Every library with the kernels that it chooses itself",
    "Haswell": "With `OPENBLAS_CORETYPE=Haswell`: AVX2 kernels in every OpenBLAS, also in numpy's",
}


def main(paths):
    """Print the tables, and write them to the page."""
    runs = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    sections = [section(run) for run in runs]
    put("speed.md", "speed", "\n".join([best(runs), *sections] if len(runs) > 1 else sections))


def best(runs):
    """Return a table that shows each program in its fastest setting."""
    settings = [{name(benchmark): benchmark for benchmark in run["benchmarks"]} for run in runs]
    chosen = [
        min((setting[key] for setting in settings), key=lambda b: b["stats"]["median"])
        for key in settings[0]
        if all(key in setting for setting in settings)
    ]
    title = "## Every program with the kernels that suit it best"
    text = "For each program, the table shows the faster of the two settings in the next sections."
    return "\n".join([title, "", text, "", *table(chosen), ""])


def name(benchmark):
    """Return the task and the program of a benchmark."""
    return benchmark["extra_info"]["what"], benchmark["extra_info"]["who"]


def section(run):
    """Return the section of the page for a setting: a description of the machine, and a table."""
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
    """Return a table of benchmarks, grouped by task."""
    lines = [
        "| task | program | median | fastest | relative to shapesweep | promised |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    by_task = {}
    for benchmark in benchmarks:
        by_task.setdefault(benchmark["extra_info"]["what"], []).append(benchmark)
    for task, group in by_task.items():
        ours = next(x for x in group if x["extra_info"]["who"] == "shapesweep")["stats"]["median"]
        for benchmark in group:
            lines.append(row(task, benchmark, ours))
    return lines


def row(task, benchmark, ours):
    """Return a row of the table."""
    program, stats = benchmark["extra_info"]["who"], benchmark["stats"]
    ratio = stats["median"] / ours
    ratios = next((ratios for name, ratios in PROMISED.items() if task.startswith(name)), {})
    least = ratios.get(program)
    promised = "" if least is None else f"≥ {least}" + ("" if ratio >= least else ": **missed**")
    times = "" if program == "shapesweep" else f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"
    return (
        f"| {task} | {program} | {seconds(stats['median'])} | {seconds(stats['min'])} | {times} | "
        f"{promised} |"
    )


def seconds(time):
    """Return a time with three significant digits."""
    return f"{time:.3g} s" if time >= 0.1 else f"{time * 1000:.3g} ms"


def memory(benchmarks):
    """Yield a sentence about the time and memory of the largest cloud."""
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        if "peak_memory" in info:
            peak, cloud, pairs = (info[k] / 1e9 for k in ("peak_memory", "cloud", "all_distances"))
            median = seconds(benchmark["stats"]["median"])
            yield (
                f"{info['what']}: {median} and at most {peak:.1f} GB of memory, which is "
                f"{peak / cloud:.0f} times the size of the cloud ({cloud:.2f} GB). A matrix of all "
                f"distances would need {pairs:.0f} GB."
            )


if __name__ == "__main__":
    main(sys.argv[1:])
