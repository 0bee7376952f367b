# Takes in: the shards of a batch of checkpoints. Hands on: for each of them <results>/geometry/
# <suite>/<run>/<revision>/ with its own geometry, replicates, losses and failures (.parquet), and
# <results>/batches/<suite>/<run>/<batch>.json, which tells that all of them are there. What a folder
# holds from the same shards in the same metric's version is not measured again.
rule geometry:
    input:
        rules.activations.output,
    output:
        f"{RESULTS}/batches/{{suite}}/{{run}}/{{batch}}.json",
    log:
        f"{RESULTS}/logs/geometry/{{suite}}/{{run}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/geometry/{{suite}}/{{run}}/{{batch}}.tsv"
    # What is extracted is measured first: few shards lie on the disk at a time.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.geometry_mb(model(w), settings(w)),
        runtime=lambda w, attempt: attempt * minutes(w),
    params:
        config=merged,
        revisions=lambda w: batch(w).revisions,
        geometry=f"{RESULTS}/geometry/{{suite}}/{{run}}",
        kept=kept_states,
        release=lambda w: release("activations", w),
    message:
        "measuring {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep geometry --config {params.config:q} --revision {params.revisions:q} "
        "--activations {input:q} --state {params.kept:q} --threads {threads} --mark {output:q} "
        "--out {params.geometry:q} > {log:q} 2>&1{params.release}"
