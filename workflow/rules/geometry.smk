# Takes in: a checkpoint's shards. Hands on: <results>/geometry/<suite>/<run>/<revision>/ with the
# checkpoint's own geometry, replicates, losses and failures (.parquet). The folder is updated: what it
# holds from the same shards in the same metric's version is not measured again.
rule geometry:
    input:
        rules.activations.output,
    output:
        update(directory(f"{RESULTS}/geometry/{{suite}}/{{run}}/{{revision}}")),
    log:
        f"{RESULTS}/logs/geometry/{{suite}}/{{run}}/{{revision}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/geometry/{{suite}}/{{run}}/{{revision}}.tsv"
    # What is extracted is measured first: few shards lie on the disk at a time.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=MERGED,
        extraction=extraction,
        release=lambda w: release("activations", w),
        geometry=as_param(CONFIG.geometry.model_dump()),
        metric_versions=as_param({name: one.version for name, one in METRICS.items()}),
    message:
        "measuring {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep geometry --config {params.config:q} --activations {input:q} "
        "--threads {threads} --out {output:q} > {log:q} 2>&1{params.release}"
