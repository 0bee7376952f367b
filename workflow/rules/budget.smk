# Input: the files of a checkpoint, and the manifest. Output: the number of dimensions that each
# layer needs, in <results>/budgets/<suite>/<run>/<revision>/<fingerprint>.parquet. The
# configuration's key `budget` selects the checkpoints that are measured.
rule budget:
    input:
        texts=texts,
        checkpoints=checkpoint_files,
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
        tokenizer=ancient(tokenizer),
        settings=lambda w: f"{RESULTS}/{PLAN.budget_file(w.suite)}",
    output:
        f"{RESULTS}/budgets/{{suite}}/{{run}}/{{revision}}/{{fingerprint}}.parquet",
    log:
        f"{RESULTS}/logs/budgets/{{suite}}/{{run}}/{{revision}}/{{fingerprint}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/budgets/{{suite}}/{{run}}/{{revision}}/{{fingerprint}}.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.model_mb(*model(w)),
        runtime=lambda w, attempt: attempt * PLAN.budget_minutes(w.suite, w.run),
        # `device`, `batch_tokens` and `temporary` do not affect the numbers, so they are resources.
        # Snakemake does not repeat a job if only its resources change.
        # How often Snakemake will repeat this attempt, with more memory, if the job fails.
        retries=lambda w, attempt: retries_after(attempt),
        device=CONFIG.device,
        batch_tokens=CONFIG.batch_tokens,
        temporary=TEMPORARY_HERE,
    params:
        texts=TEXTS,
        downloaded=downloaded,
        measured=measured,
        rise=CONFIG.budget.rise,
    message:
        "computing the dimension budget of {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep budget --settings {input.settings:q} --manifest {input.manifest:q} "
        "--texts {params.texts:q} "
        "--run {wildcards.run} --revision {wildcards.revision} --checkpoints={params.downloaded:q} "
        "--tokenizer={input.tokenizer:q} --measured {params.measured:q} --device {resources.device} "
        "--batch-tokens {resources.batch_tokens} --temporary {resources.temporary:q} "
        "--rise {params.rise} --threads {threads} --retries {resources.retries} "
        "--out {output:q} > {log:q} 2>&1"
