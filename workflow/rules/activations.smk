# Takes in: a checkpoint's files. Hands on: <results>/activations/<suite>/<run>/
# <revision>/, one Parquet shard a (corpus, layer) and the losses; removed once measured. Corpora that
# are measured already are not extracted again, unless their shards are to be kept.
SHARDS = directory(f"{RESULTS}/activations/{{suite}}/{{run}}/{{revision}}")


rule activations:
    input:
        checkpoint=lambda w: checkpoint_files(w.suite, w.run, w.revision),
        tokenizer=tokenizer_folder,
        text=TEXT or [],
    output:
        SHARDS if CONFIG.keep_activations else temp(SHARDS),
    log:
        f"{RESULTS}/logs/activations/{{suite}}/{{run}}/{{revision}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/activations/{{suite}}/{{run}}/{{revision}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=min(GPUS, 1),
    params:
        config=MERGED,
        extraction=extraction,
        measured=f"{RESULTS}/geometry/{{suite}}/{{run}}/{{revision}}",
        release=lambda w: release("checkpoints", w),
    message:
        "extracting {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep activations --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --revision {wildcards.revision} --measured {params.measured:q} "
        "--tokenizer={input.tokenizer:q} --threads {threads} --out {output:q} > {log:q} 2>&1{params.release}"
