# The map of the sweep: configuration in, targets out. Data runs one way,
#   suite -> manifest -> activations -> geometry -> curves -> figures,
# one rule file a room; every rule calls the command `shapesweep`.
configfile: workflow.source_path("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/plan.smk"


rule all:
    default_target: True
    input:
        TABLES,
        KEPT,
        f"{RESULTS}/summary.txt",


include: "workflow/rules/suite.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/geometry.smk"
include: "workflow/rules/curves.smk"
include: "workflow/rules/figures.smk"
