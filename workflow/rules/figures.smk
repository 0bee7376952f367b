# Input: the curves. Output: <results>/figures/<figure>.{svg,pdf,png,csv}, <results>/summary.txt,
# <results>/comparison.md and <results>/report.html. `snakemake --report report.zip` shows the
# figures and the summary with their captions.
rule figures:
    input:
        CURVE_FILES,
    output:
        # The output is a directory, because only figures that have data are drawn.
        report(
            directory(f"{RESULTS}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            subcategory=lambda w: FIGURES[w.figure].category,
            labels=lambda w: {"figure": FIGURES[w.figure].title},
        ),
    log:
        f"{RESULTS}/logs/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.tsv"
    localrule: True
    params:
        curves=subpath(input[0], parent=True),
        names=[],
        captions=lambda w: Captions(
            {name: figure.caption for name, figure in FIGURES.items()}
        ),
    message:
        "drawing all figures"
    shell:
        "shapesweep figures {params.names:q} --curves {params.curves:q} --out {output:q} > {log:q} 2>&1"


rule summary:
    input:
        CURVE_FILES,
        rules.join.output,
    output:
        report(
            f"{RESULTS}/summary.txt",
            caption="../report/summary.rst",
            category="Summary",
            labels={"figure": "Summary of the sweep"},
        ),
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    localrule: True
    params:
        results=subpath(output[0], parent=True),
    message:
        "writing the summary"
    shell:
        "shapesweep summary --results {params.results:q} --out {output:q} > {log:q} 2>&1"


rule comparison:
    input:
        CURVE_FILES,
    output:
        f"{RESULTS}/comparison.md",
    log:
        f"{RESULTS}/logs/comparison.log",
    benchmark:
        f"{RESULTS}/benchmarks/comparison.tsv"
    localrule: True
    params:
        curves=subpath(input[0], parent=True),
    message:
        "comparing with the numbers of the paper"
    shell:
        "shapesweep comparison --curves {params.curves:q} --out {output:q} > {log:q} 2>&1"


rule page:
    input:
        CURVE_FILES,
        rules.join.output,
        rules.summary.output,
        rules.config.output,
        rules.figures.output,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/page.log",
    benchmark:
        f"{RESULTS}/benchmarks/page.tsv"
    localrule: True
    params:
        results=subpath(output[0], parent=True),
    message:
        "writing the page"
    shell:
        "shapesweep page --results {params.results:q} --out {output:q} > {log:q} 2>&1"


rule paper:
    input:
        files(CONFIG.suites),
        rules.join.output,
        rules.curves.output,
        rules.comparison.output,
        rules.summary.output,
        rules.figures.output,
    message:
        "the figures of the paper are up to date"
