# Takes in: the curves. Hands on what a person looks at: <results>/figures/<figure>.{svg,pdf,png,csv},
# <results>/summary.txt, <results>/comparison.md and <results>/report.html; `snakemake --report
# report.zip` shows figures and words with their captions.
rule figure:
    input:
        CURVES,
    output:
        report(
            f"{RESULTS}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            subcategory=lambda w: FIGURES[w.figure].category,
            labels=lambda w: {"figure": FIGURES[w.figure].title},
        ),
        f"{RESULTS}/figures/{{figure}}.pdf",
        f"{RESULTS}/figures/{{figure}}.png",
        f"{RESULTS}/figures/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/{{figure}}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        curves=subpath(input[0], parent=True),
        out=subpath(output[0], parent=True),
        caption=lambda w: FIGURES[w.figure].caption,
    message:
        "drawing {wildcards.figure}"
    shell:
        "shapesweep figures --curves {params.curves:q} --figure {wildcards.figure} "
        "--out {params.out:q} > {log:q} 2>&1"


rule summary:
    input:
        CURVES,
        rules.join.output,
    output:
        report(
            f"{RESULTS}/summary.txt",
            caption="../report/summary.rst",
            category="Summary",
            labels={"figure": "What the sweep has found"},
        ),
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        results=subpath(output[0], parent=True),
    message:
        "summing up"
    shell:
        "shapesweep summary --results {params.results:q} --out {output:q} > {log:q} 2>&1"


rule comparison:
    input:
        CURVES,
    output:
        f"{RESULTS}/comparison.md",
    log:
        f"{RESULTS}/logs/comparison.log",
    benchmark:
        f"{RESULTS}/benchmarks/comparison.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        curves=subpath(input[0], parent=True),
    message:
        "holding the authors' numbers against ours"
    shell:
        "shapesweep comparison --curves {params.curves:q} --out {output:q} > {log:q} 2>&1"


rule page:
    input:
        CURVES,
        rules.join.output,
        rules.join.input.manifests,
        rules.summary.output,
        rules.config.output,
        expand(f"{RESULTS}/figures/{{figure}}.{{ext}}", figure=FIGURES, ext=EXTENSIONS),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/page.log",
    benchmark:
        f"{RESULTS}/benchmarks/page.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        results=subpath(output[0], parent=True),
    message:
        "making the page"
    shell:
        "shapesweep page --results {params.results:q} --out {output:q} > {log:q} 2>&1"


rule paper:
    input:
        files(CONFIG.suites),
        rules.join.output,
        rules.curves.output,
        rules.comparison.output,
        rules.summary.output,
        expand(
            f"{RESULTS}/figures/{{figure}}.{{ext}}",
            figure=[name for name, one in FIGURES.items() if one.of_paper],
            ext=EXTENSIONS,
        ),
    message:
        "the paper's figures are there"
