"""Write the files that are generated from the code: schemas, reference tables and conda pins.

`make docs` runs this script. With `--check`, the script writes nothing, and fails if a file is not
up to date. Each generated part of a page is between two comments that contain the part's name.
"""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from shapesweep import cli
from shapesweep.checkpoint.layouts import LAYOUTS
from shapesweep.config import checked
from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.registry import REGISTRY
from shapesweep.config.suite import SUITE, EmbeddedSuite, LocalSuite, Suite
from shapesweep.config.sweep import Config
from shapesweep.corpora import CORPORA
from shapesweep.figures import FIGURES
from shapesweep.metrics import ALL_METRICS, NeighborMetric, PairMetric

ROOT = Path(__file__).parents[1]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def main(check: bool) -> int:
    """Write or check every file; return the number of files that were not up to date."""
    stale = 0
    for path, text in files():
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        if old != text:
            stale += 1
            print(f"{path.relative_to(ROOT)}: {'not up to date' if check else 'written'}")
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return stale


def files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the contents of every generated file."""
    config = Config.model_json_schema()
    # A configuration file may leave out any key: its value then comes from config/config.yaml. The
    # schema therefore requires no key.
    config.pop("required")
    for name, schema in (("config", config), ("suite", TypeAdapter(Suite).json_schema())):
        text = json.dumps({"$schema": DIALECT, **schema}, indent=1, ensure_ascii=False)
        yield ROOT / f"workflow/schemas/{name}.schema.json", f"{text}\n"
    pages = {
        "config/README.md": {
            "configuration": keys(Config),
            "local": keys(LocalSuite),
            "embedded": keys(EmbeddedSuite),
            "hub": keys(HubSuite),
        },
        "docs/reference/suites.md": {"suites": suites(), "recalled": recalled()},
        "docs/reference/metrics.md": {"metrics": metrics()},
        "docs/reference/corpora.md": {"corpora": corpora()},
        "docs/reference/layouts.md": {"layouts": layouts()},
        "docs/reference/figures.md": {"figures": figures()},
        "docs/reference/command.md": {"command": command()},
    }
    for name, parts in pages.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for part, made in parts.items():
            text = between(text, part, made, name)
        yield ROOT / name, text
        if name == "config/README.md":
            # The catalog of Snakemake workflows reads config/README.md. Sphinx reads the copy in
            # docs/reference.
            links = re.sub(r"\]\((?!http)", "](../../config/", text)
            yield ROOT / "docs/reference/configuration.md", links
    pins = (ROOT / "envs/requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = "".join(f"      - {pin}\n" for pin in pins if pin and not pin.startswith("#"))
    conda = ROOT / "envs/environment.yaml"
    head, _, _ = conda.read_text(encoding="utf-8").partition("  - pip:\n")
    yield conda, f"{head}  - pip:\n{listed}"


def between(text: str, name: str, made: str, page: str) -> str:
    """Replace the part of a page between the two comments that contain the name of the part."""
    pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise SystemExit(f"{page}: needs the comments <!-- {name}: … --> and <!-- /{name} --> once")
    return pattern.sub(lambda found: f"{found[1]}{made}{found[2]}", text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, with an empty line before and after it."""
    # A vertical bar would end the cell, and a line break would end the row.
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def keys(model: Any) -> str:
    """Return the reference table of a pydantic model, with a row for each key."""
    schema = model.model_json_schema()
    return table(["key", "default", "values", "what it is"], list(_rows(schema, schema, "", {})))


def _rows(
    schema: dict[str, Any], whole: dict[str, Any], above: str, given: dict[str, Any]
) -> Iterator[list[str]]:
    """Yield a row for each key; `given` contains the defaults that the key above sets."""
    for key, field in schema["properties"].items():
        # If the value of a key is a mapping with known keys, the table has a row for each of these
        # keys. If the value is a union, the table has one row that lists the possible values.
        inner = _resolved(field, whole)
        needed = key in schema.get("required", ()) and key not in given
        standard = given.get(key, field.get("default"))
        default = "required" if needed else _default(standard)
        if "properties" in inner:
            yield from _rows(inner, whole, f"{above}{key}.", standard or {})
            continue
        yield [f"`{above}{key}`", default, _values(field, whole), field["description"]]
        for each in inner.get("patternProperties", {}).values() if key == "runs" else ():
            forms = [_resolved(form, whole) for form in each.get("anyOf", [each])]
            for form in (form for form in forms if "properties" in form):
                yield from _rows(form, whole, f"{above}{key}.<run>.", {})


def _resolved(field: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    return whole["$defs"][field["$ref"].split("/")[-1]] if "$ref" in field else field


def _default(default: Any) -> str:
    if default is None or isinstance(default, str):
        return f"`{default}`" if default else ""
    return f"`{json.dumps(default)}`".replace('"', "")


def _values(field: dict[str, Any], whole: dict[str, Any]) -> str:
    for key in ("examples", "enum", "const"):
        if key in field:
            choices = field[key] if key != "const" else [field[key]]
            return ", ".join(f"`{choice}`" for choice in choices)
    if "anyOf" in field:
        forms = [_resolved(form, whole) for form in field["anyOf"]]
        return " or ".join(_values(form, whole) for form in forms if form.get("type") != "null")
    kind = field.get("type")
    if kind == "array":
        return f"list of {_values(_resolved(field['items'], whole), whole)}"
    words = {"string": "text", "boolean": "`true`, `false`"}
    name = {**words, "object": "mapping"}.get(kind, str(kind))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[bound]:g}" for bound, sign in signs.items() if bound in field]
    return " ".join([name, ", ".join(bounds)]).strip()


def suites() -> str:
    """Return the table of suites, with a row for each suite whose models are on the Hub."""
    last = checked.read(REGISTRY / checked.CHECKED.name)
    rows = []
    for name, one in _hub_suites():
        notes = [(one.title or "").removesuffix(".")]
        notes += ["needs code from the Hub (`hub.remote_code`)"] if one.remote_code else []
        rows.append([f"`{name}`", "; ".join(notes), one.mode, _outcome(last.get(name))])
    return table(["suite", "what it is", "checkpoints are stored as", "last check"], rows)


def recalled() -> str:
    """Return the table of the facts about suites that were written down from memory."""
    facts = [(f"`{name}`", fact) for name, one in _hub_suites() for fact in one.facts]
    rows = [[name, fact.about, fact.says] for name, fact in facts if fact.verified == "recalled"]
    return table(["suite", "subject", "fact"], rows)


def _hub_suites() -> Iterator[tuple[str, HubSuite]]:
    for path in sorted(REGISTRY.glob("*.yaml")):
        one = SUITE.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
        if isinstance(one, HubSuite):
            yield path.stem, one


def _outcome(last: checked.Check | None) -> str:
    """Return the date of the last check of a suite, and what differed."""
    # The page does not contain texts of the Hub, because anyone can publish texts there.
    if last is None:
        return "never"
    differences = "; ".join(f"{one.what} ({one.where})" for one in last.differences)
    outcome = "" if last.outcome == "agrees" else f", **{last.outcome}**"
    return f"{last.date}{outcome}{f': {differences}' if differences else ''}"


def metrics() -> str:
    """Return the reference table of the metrics, with a row for each metric."""
    rows = []
    for name, one in ALL_METRICS.items():
        seen = "all tokens of the selection"
        if isinstance(one, PairMetric):
            seen += ", in two layers"
        if isinstance(one, NeighborMetric):
            points = "N points" if one.fraction == 1 else f"N/{one.fraction} points"
            seen = f"k = {', '.join(map(str, one.k))}, {points}"
        what = [one.definition, one.source, one.it_is_not]
        rows.append([f"`{name}`", str(one.version), seen, *what])
    head = ["metric", "version", "computed from", "definition", "source", "it is not"]
    return table(head, rows)


def corpora() -> str:
    """Return the reference table of the corpora, with a row for each file of `corpora/`."""
    rows = [[f"`{name}`", str(c.version), c.definition, c.asks] for name, c in CORPORA.items()]
    return table(["corpus", "version", "what it is", "question that it answers"], rows)


def layouts() -> str:
    """Return the reference table of the layouts of other programs."""
    rows = [
        [layout.name, ", ".join(map(_together, layout.signs)), layout.advice] for layout in LAYOUTS
    ]
    return table(["layout", "recognised by", "what to do"], rows)


def _together(sign: str) -> str:
    return " and ".join(f"`{pattern}`" for pattern in sign.split())


def figures() -> str:
    """Return the reference of the figures, which has a section for each file of `figures/`."""

    def section(name: str) -> str:
        figure = FIGURES[name]
        needs = f" *Needs {figure.needs}.*" if figure.needs else ""
        end = "" if figure.title.endswith("?") else "."
        return f"## `{name}`\n\n**{figure.title}{end}** {figure.caption}{needs}\n"

    return "\n" + "\n".join(map(section, FIGURES))


def command() -> str:
    """Return the reference of the command: the help text of every subcommand."""
    # The width and the colours of the help must not depend on the terminal.
    os.environ.update(COLUMNS="100", NO_COLOR="1")

    def output(*arguments: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
            cli.main([*arguments, "--help"])
        return text.getvalue().strip()

    names = re.findall(r"^    ([a-z][a-z-]*)(?: |$)", output(), re.MULTILINE)
    return "\n" + "\n".join(
        f"## `shapesweep {name}`\n\n```text\n{output(name)}\n```\n" for name in names
    )


if __name__ == "__main__":
    CHECK = sys.argv[1:] == ["--check"]
    sys.exit(1 if main(CHECK) and CHECK else 0)
