# Takes in: the curves. Hands on: <results>/figures/<figure>.{svg,pdf,png} and <results>/summary.txt,
# what a person looks at.
from shapesweep.figures import FIGURES


localrules:
    figure,
    summary,


rule figure:
    input:
        CURVES,
    output:
        multiext(f"{RESULTS}/figures/{{figure}}", ".svg", ".pdf", ".png"),
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    params:
        curves=f"{RESULTS}/curves",
        out=f"{RESULTS}/figures",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    message:
        "drawing {wildcards.figure}"
    shell:
        "shapesweep figures --curves {params.curves:q} --figure {wildcards.figure} "
        "--out {params.out:q} > {log:q} 2>&1"


rule summary:
    input:
        CURVES,
        TABLES,
        expand(f"{RESULTS}/figures/{{figure}}.{{ext}}", figure=FIGURES, ext=["svg", "pdf", "png"]),
    output:
        f"{RESULTS}/summary.txt",
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    params:
        results=RESULTS,
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "summing up"
    shell:
        "shapesweep summary --results {params.results:q} --out {output:q} > {log:q} 2>&1"
