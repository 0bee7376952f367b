# In: the files of a batch of checkpoints, and the manifest. Out: the tables of their metrics,
# <results>/geometry/<suite>/<run>/<batch>/<fingerprint>/. Shards of hidden states are extracted and
# measured one checkpoint at a time; with keep_activations they are kept in <results>/activations/.
# The numbers of every checkpoint are kept in <results>/measured/ and are not measured again.
PLACE = "{suite}/{run}/{batch}/{fingerprint}"


rule geometry:
    input:
        text=text,
        checkpoints=checkpoint_files,
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
        tokenizer=ancient(tokenizer),
        settings=measurement_file,
    output:
        [f"{RESULTS}/geometry/{PLACE}/{name}.parquet" for name in BATCH_TABLES],
        kept=(
            [directory(f"{RESULTS}/activations/{PLACE}")]
            if CONFIG.keep_activations
            else []
        ),
    log:
        f"{RESULTS}/logs/geometry/{PLACE}.log",
    benchmark:
        f"{RESULTS}/benchmarks/geometry/{PLACE}.tsv"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.geometry_mb(*model(w)),
        runtime=lambda w, attempt: attempt * PLAN.geometry_minutes(batch(w)),
        # Numbers do not depend on these. As resources, they do not trigger another run.
        device=CONFIG.device,
        batch_tokens=CONFIG.batch_tokens,
        temporary=TEMPORARY_HERE,
    params:
        revisions=revisions,
        downloaded=downloaded,
        measured=measured,
        out=subpath(output[0], parent=True),
    message:
        "measuring {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep geometry --settings {input.settings:q} --manifest {input.manifest:q} "
        "--run {wildcards.run} --revision {params.revisions:q} --checkpoints={params.downloaded:q} "
        "--tokenizer={input.tokenizer:q} --measured {params.measured:q} "
        "--device {resources.device} --batch-tokens {resources.batch_tokens} "
        "--temporary {resources.temporary:q} --keep={output.kept:q} --threads {threads} "
        "--out {params.out:q} > {log:q} 2>&1"
