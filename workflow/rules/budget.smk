# Takes in: a checkpoint's files. Hands on: <results>/budgets/<suite>/<run>/<revision>.parquet, how many
# dimensions each of its layers needs; only of checkpoints that the configuration names under budget.
rule budget:
    input:
        checkpoints=lambda w: checkpoint_files(batch(w)),
        tokenizer=tokenizer_folder,
        # After the checkpoint was measured: where one of two fails, its download is removed.
        measured=ancient(f"{RESULTS}/batches/{{suite}}/{{run}}/{{revision}}.json"),
    output:
        f"{RESULTS}/budgets/{{suite}}/{{run}}/{{revision}}.parquet",
    log:
        f"{RESULTS}/logs/budgets/{{suite}}/{{run}}/{{revision}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/budgets/{{suite}}/{{run}}/{{revision}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.extraction_mb(model(w), settings(w)),
        runtime=lambda w, attempt: attempt
        * costs.minutes(costs.budget_operations(model(w), settings(w))),
        gpu=min(GPUS, 1),
    params:
        config=merged,
        state=lambda w: states(batch(w))[w.revision],
        downloaded=lambda w, input: input.checkpoints if w.suite in PUBLISHED else "",
        release=lambda w: release("checkpoints", w),
        budget=as_param(lambda w: budget_settings(CONFIG)),
    message:
        "budgeting {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep budget --config {params.config:q} --suite {wildcards.suite} --run {wildcards.run} "
        "--revision {wildcards.revision} --checkpoints={params.downloaded:q} "
        "--tokenizer={input.tokenizer:q} --threads {threads} --out {output:q} > {log:q} 2>&1{params.release}"
