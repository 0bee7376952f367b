# Takes in: the logs of runs, and what probes have measured while they were trained. Hands on:
# <results>/history/<suite>.parquet. Of a run that is being trained, what there is by now.
rule history:
    input:
        suite_files,
        plan=plan_file,
    output:
        f"{RESULTS}/history/{{suite}}.parquet",
    log:
        f"{RESULTS}/logs/history/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/history/{{suite}}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        results=HERE,
    message:
        "reading the logs of {wildcards.suite}"
    shell:
        "shapesweep history --plan {input.plan:q} "
        "--results {params.results:q} --out {output:q} > {log:q} 2>&1"
