# In: the logs of runs, and what probes measured while they were trained. Out:
# <results>/history/<suite>.parquet. For a run in training, it holds what has been logged so far.
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
