# Takes in: a checkpoint's files. Hands on: <results>/budgets/<suite>/<run>/<revision>.parquet, how many
# dimensions each of its layers needs; only of checkpoints that the configuration names under budget.
rule budget:
    input:
        checkpoint=lambda w: checkpoint_files(w.suite, w.run, w.revision),
        tokenizer=tokenizer_folder,
        text=TEXT or [],
        # After the checkpoint was measured: where one of two fails, its download is removed.
        measured=ancient(rules.geometry.output),
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
        mem_mb=4000,
        runtime=240,
        gpu=min(GPUS, 1),
    params:
        config=MERGED,
        extraction=extraction,
        release=lambda w: release("checkpoints", w),
        budget=as_param([CONFIG.budget.rise, BUDGET_VERSION]),
    message:
        "budgeting {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep budget --config {params.config:q} --suite {wildcards.suite} --run {wildcards.run} "
        "--revision {wildcards.revision} --tokenizer={input.tokenizer:q} --threads {threads} "
        "--out {output:q} > {log:q} 2>&1{params.release}"
