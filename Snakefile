# For `snakemake` in the root of a clone. The workflow is workflow/Snakefile. Snakemake ignores the
# default target of an included file, so this file has its own.
include: "workflow/Snakefile"


rule sweep:
    default_target: True
    input:
        rules.all.input,
    message:
        "the sweep is up to date"
