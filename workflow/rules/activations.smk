# Takes in: the files of a batch of checkpoints. Hands on: <results>/activations/<suite>/<run>/
# <batch>/ (or in the configuration's scratch), of several checkpoints a folder each, in it one Parquet
# shard a (corpus, layer) and the losses; removed once measured. Corpora that are measured already are
# not extracted again, unless their shards are to be kept.
ACTIVATIONS = directory(f"{SHARDS}/activations/{{suite}}/{{run}}/{{batch}}")


rule activations:
    input:
        checkpoints=lambda w: checkpoint_files(batch(w)),
        tokenizer=tokenizer_folder,
    output:
        ACTIVATIONS if CONFIG.keep_activations else temp(ACTIVATIONS),
    log:
        f"{RESULTS}/logs/activations/{{suite}}/{{run}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/activations/{{suite}}/{{run}}/{{batch}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: attempt * costs.extraction_mb(model(w), settings(w)),
        runtime=lambda w, attempt: attempt * minutes(w),
        gpu=min(GPUS, 1),
    params:
        config=merged,
        revisions=lambda w: batch(w).revisions,
        downloaded=lambda w, input: input.checkpoints if w.suite in PUBLISHED else "",
        measured=f"{RESULTS}/geometry/{{suite}}/{{run}}",
        # What is removed once it is measured needs no other reason to be made again.
        kept=kept_states,
        release=lambda w: release("checkpoints", w),
    message:
        "extracting {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep activations --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --revision {params.revisions:q} --checkpoints={params.downloaded:q} "
        "--tokenizer={input.tokenizer:q} --measured {params.measured:q} --threads {threads} "
        "--out {output:q} > {log:q} 2>&1{params.release}"
