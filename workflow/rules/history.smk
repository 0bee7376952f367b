# Input: the training logs of the runs, and the measurements that probes made during training.
# Output: <results>/history/<suite>.parquet. If a run is still training, the file contains the log
# so far.
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
    params:
        results=HERE,
    message:
        "reading the logs of {wildcards.suite}"
    shell:
        "shapesweep history --plan {input.plan:q} "
        "--results {params.results:q} --out {output:q} > {log:q} 2>&1"
