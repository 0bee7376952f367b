# Takes in: the folders of a suite's checkpoints. Hands on: <results>/manifests/<suite>.parquet, one
# row a checkpoint.
rule manifest:
    input:
        suite_files,
    output:
        f"{RESULTS}/manifests/{{suite}}.parquet",
    log:
        f"{RESULTS}/logs/manifest/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest/{{suite}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        config=MERGED,
        selection=str(CONFIG.checkpoints),
        listed=lambda w: as_param([(one.run, one.revision) for one in LISTED[w.suite]]),
        states=lambda w: as_param(
            [checkpoint_state(*key) for key in SELECTED if key[0] == w.suite]
        ),
    message:
        "listing the checkpoints of {wildcards.suite}"
    shell:
        "shapesweep manifest --config {params.config:q} --suite {wildcards.suite} "
        "--out {output:q} > {log:q} 2>&1"
