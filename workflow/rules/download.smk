# In: the checkpoints of the Hub that the manifest pins. Out: their files,
# <results>/checkpoints/<suite>/<run>/<batch>/<fingerprint>/ (or in the configuration's scratch), which
# are removed after they are measured, and the run's tokenizer, which is kept, in
# <results>/tokenizers/. Downloads need no core. They run ahead of the measuring as far as
# hub.downloads and hub.disk_gb allow, and wait for room by themselves.
rule download:
    input:
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
        tokenizer=ancient(tokenizer),
        settings=measurement_file,
    output:
        temp(
            directory(
                f"{TEMPORARY}/checkpoints/{{suite}}/{{run}}/{{batch}}/{{fingerprint}}"
            )
        ),
    log:
        f"{RESULTS}/logs/download/{{suite}}/{{run}}/{{batch}}/{{fingerprint}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/download/{{suite}}/{{run}}/{{batch}}/{{fingerprint}}.tsv"
    threads: 0
    resources:
        mem_mb=1000,
        runtime=costs.DOWNLOAD_MINUTES,
        disk_mb=lambda w: disk_bytes(w) // 10**6,
        hub=1,
        room=int(CONFIG.hub.disk_gb * 1e9),
        temporary=TEMPORARY_HERE,
    params:
        revisions=revisions,
        # Shards that are kept need the files of measured checkpoints, too.
        measured="" if CONFIG.keep_activations else measured,
        rise=lambda w: (
            f"--budget-rise {CONFIG.budget.rise}" if PLAN.budgets_of(batch(w)) else ""
        ),
        bytes=disk_bytes,
        seconds=lambda w: PLAN.claim_seconds(batch(w)),
    message:
        "downloading {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep download --settings {input.settings:q} --manifest {input.manifest:q} "
        "--run {wildcards.run} --revision {params.revisions:q} --tokenizer={input.tokenizer:q} "
        "--measured={params.measured:q} {params.rise} --room {resources.room} --bytes {params.bytes} "
        "--seconds {params.seconds} --temporary {resources.temporary:q} --out {output:q} > {log:q} 2>&1"


rule tokenizer:
    input:
        ancient(f"{RESULTS}/listings/{{suite}}.json"),
    output:
        directory(f"{RESULTS}/tokenizers/{{suite}}/{{run}}/{{fingerprint}}"),
    log:
        f"{RESULTS}/logs/tokenizer/{{suite}}/{{run}}/{{fingerprint}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tokenizer/{{suite}}/{{run}}/{{fingerprint}}.tsv"
    # Every checkpoint of the run waits for it.
    priority: 20
    threads: 0
    resources:
        mem_mb=1000,
        runtime=60,
        hub=1,
    params:
        results=HERE,
        # The name of the output stands for the contents. Snakemake does not compare parameters that
        # depend on the output, so no change of the definition fetches the same files again.
        naming=reported(
            lambda w, output: definitions.for_tokenizer(
                w.suite, PLAN.suites[w.suite], w.run
            )
        ),
    message:
        "fetching the tokenizer of {wildcards.suite}/{wildcards.run}"
    shell:
        "shapesweep tokenizer --definition {params.naming:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --results {params.results:q} --out {output:q} > {log:q} 2>&1"
