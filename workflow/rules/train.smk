# Input: the definition of an embedded suite. Output: the folder
# <results>/checkpoints/<suite>/<run>/, which has the layout of a Trainer's output folder. Each run
# is trained on one thread, so that machines with the same processor produce identical checkpoints.
rule train:
    output:
        directory(f"{RESULTS}/checkpoints/{{suite}}/{{run}}"),
    log:
        f"{RESULTS}/logs/train/{{suite}}/{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{suite}}/{{run}}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=reported(
            lambda w: definitions.for_training(w.suite, PLAN.suites[w.suite], w.run)
        ),
    message:
        "training {wildcards.suite}/{wildcards.run}"
    shell:
        "shapesweep train --definition {params.recipe:q} "
        "--run {wildcards.run} --threads {threads} --out {output:q} > {log:q} 2>&1"
