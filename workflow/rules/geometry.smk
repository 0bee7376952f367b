# Input: the files of a batch of checkpoints, and the manifest. Output: the tables of their metrics,
# <results>/geometry/<suite>/<run>/<batch>/<fingerprint>/. For one checkpoint at a time, a job
# writes shards of hidden states, measures them, and removes them. With keep_activations, the shards
# are kept in <results>/activations/. The folder <results>/measured/ keeps the numbers of every
# checkpoint, so that a later sweep does not measure them again.
rule geometry:
    input:
        texts=texts,
        checkpoints=checkpoint_files,
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
        tokenizer=ancient(tokenizer),
        settings=measurement_file,
    output:
        [f"{RESULTS}/geometry/{BATCH}/{name}.parquet" for name in BATCH_TABLES],
        kept=(
            [directory(f"{RESULTS}/activations/{BATCH}")]
            if CONFIG.keep_activations
            else []
        ),
    log:
        f"{RESULTS}/logs/geometry/{BATCH}.log",
    benchmark:
        f"{RESULTS}/benchmarks/geometry/{BATCH}.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.geometry_mb(*model(w)),
        runtime=lambda w, attempt: attempt * PLAN.geometry_minutes(batch(w)),
        # `device`, `batch_tokens` and `temporary` do not affect the numbers, so they are resources.
        # Snakemake does not repeat a job if only its resources change.
        # How often Snakemake will repeat this attempt, with more memory, if the job fails.
        retries=lambda w, attempt: retries_after(attempt),
        device=CONFIG.device,
        batch_tokens=CONFIG.batch_tokens,
        temporary=TEMPORARY_HERE,
    params:
        texts=TEXTS,
        revisions=revisions,
        downloaded=downloaded,
        measured=measured,
        out=subpath(output[0], parent=True),
    message:
        "measuring {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep geometry --settings {input.settings:q} --manifest {input.manifest:q} "
        "--texts {params.texts:q} "
        "--run {wildcards.run} --revision {params.revisions:q} --checkpoints={params.downloaded:q} "
        "--tokenizer={input.tokenizer:q} --measured {params.measured:q} "
        "--device {resources.device} --batch-tokens {resources.batch_tokens} "
        "--temporary {resources.temporary:q} --keep={output.kept:q} --threads {threads} "
        "--retries {resources.retries} "
        "--out {params.out:q} > {log:q} 2>&1"
