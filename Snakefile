# The workflow is workflow/Snakefile. This file is for `snakemake` in the root of a clone; it has a
# default target of its own, since Snakemake does not take that of an included file.
include: "workflow/Snakefile"


rule sweep:
    default_target: True
    input:
        rules.all.input,
    message:
        "the sweep is up to date"
