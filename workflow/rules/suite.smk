# Takes in: an embedded suite's definition. Hands on: <results>/checkpoints/<suite>/<run>/, a
# Trainer's output folder. One thread a run: the same checkpoints on every machine of a kind.
rule train:
    output:
        directory(f"{RESULTS}/checkpoints/{{suite}}/{{run}}"),
    log:
        f"{RESULTS}/logs/train/{{suite}}/{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{suite}}/{{run}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=merged,
        suite=as_param(lambda w: SUITES[w.suite].model_dump(exclude={"runs"})),
        run=as_param(lambda w: SUITES[w.suite].runs[w.run].model_dump()),
    message:
        "training {wildcards.suite}/{wildcards.run}"
    shell:
        "shapesweep train --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --threads {threads} --out {output:q} > {log:q} 2>&1"
