# The map of the sweep: configuration in, targets out. Data runs one way,
#   suite -> manifest -> checkpoint -> activations -> geometry -> curves -> figures,
# one rule file a room; every rule calls the command `shapesweep`.
configfile: workflow.source_path("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/plan.smk"


NUMBERS = [
    TABLES,
    # What could not be fetched last time is not there, and so is asked for again.
    marks,
    shards if CONFIG.keep_activations else [],
    f"{RESULTS}/summary.txt",
]


rule all:
    default_target: True
    input:
        NUMBERS,
        expand(f"{RESULTS}/figures/{{figure}}.{{ext}}", figure=FIGURES, ext=EXTENSIONS),
        f"{RESULTS}/report.html",
    message:
        "all that was asked for is there"


# The same without what is drawn.
rule numbers:
    input:
        NUMBERS,
    message:
        "all numbers are there"


include: "workflow/rules/suite.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/checkpoint.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/geometry.smk"
include: "workflow/rules/budget.smk"
include: "workflow/rules/history.smk"
include: "workflow/rules/curves.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/spikes.smk"
