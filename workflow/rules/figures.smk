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
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        curves=f"{RESULTS}/curves",
        out=f"{RESULTS}/figures",
    message:
        "drawing {wildcards.figure}"
    shell:
        "shapesweep figures --curves {params.curves:q} --figure {wildcards.figure} "
        "--out {params.out:q} > {log:q} 2>&1"


rule summary:
    input:
        CURVES,
        TABLES,
        expand(
            f"{RESULTS}/figures/{{figure}}.{{ext}}",
            figure=FIGURES,
            ext=["svg", "pdf", "png"],
        ),
    output:
        f"{RESULTS}/summary.txt",
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        results=RESULTS,
    message:
        "summing up"
    shell:
        "shapesweep summary --results {params.results:q} --out {output:q} > {log:q} 2>&1"
