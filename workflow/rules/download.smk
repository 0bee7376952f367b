# Input: the manifest, which pins the commits of a suite on the Hub. Output: the checkpoints' files
# in <results>/checkpoints/<suite>/<run>/<batch>/<fingerprint>/, and the tokenizer of each run in
# <results>/tokenizers/. If the configuration sets `scratch`, the checkpoints' files are in a folder
# inside `scratch`. The checkpoints' files are removed after the measurement, and the tokenizers are
# kept. Downloads need no core. They run ahead of the measurements, as far as the keys hub.downloads
# and hub.disk_gb allow. A download waits until there is room on the disk.
rule download:
    input:
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
        tokenizer=ancient(tokenizer),
        settings=measurement_file,
        texts=texts,
    output:
        temp(directory(f"{TEMPORARY}/checkpoints/{BATCH}")),
    log:
        f"{RESULTS}/logs/download/{BATCH}.log",
    benchmark:
        f"{RESULTS}/benchmarks/download/{BATCH}.tsv"
    threads: 0
    resources:
        mem_mb=1000,
        runtime=costs.DOWNLOAD_MINUTES,
        disk_mb=lambda w: disk_bytes(w) // 10**6,
        hub=1,
        room=int(CONFIG.hub.disk_gb * 1e9),
        temporary=TEMPORARY_HERE,
    params:
        texts=TEXTS,
        revisions=revisions,
        # With keep_activations, checkpoints are downloaded even if they were measured before.
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
        "--texts {params.texts:q} "
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
    # Downloads and measurements of a run wait for its tokenizer, so this rule has priority.
    priority: 20
    threads: 0
    resources:
        mem_mb=1000,
        runtime=60,
        hub=1,
    params:
        results=HERE,
        # If the tokenizer's files change, the name of the output changes, too. Snakemake does not
        # compare params that depend on the output. Therefore, the tokenizer is not downloaded again
        # if only the definition of the suite changes.
        definition=reported(
            lambda w, output: definitions.for_tokenizer(
                w.suite, PLAN.suites[w.suite], w.run
            )
        ),
    message:
        "fetching the tokenizer of {wildcards.suite}/{wildcards.run}"
    shell:
        "shapesweep tokenizer --definition {params.definition:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --results {params.results:q} --out {output:q} > {log:q} 2>&1"
