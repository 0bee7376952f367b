# Takes in: a checkpoint and its manifest's row. Hands on: <results>/activations/<suite>/<run>/
# <revision>/, one Parquet shard a (corpus, layer) and the losses; removed once measured.
from shapesweep.activations import FORMAT_VERSION

SHARDS = directory(f"{RESULTS}/activations/{{suite}}/{{run}}/{{revision}}")


rule activations:
    input:
        checkpoint=lambda w: checkpoint_files(w.suite, w.run, w.revision),
        text=TEXT or [],
        # The manifest is made anew when any checkpoint comes in; that alone re-does nothing here.
        manifest=ancient(f"{RESULTS}/manifests/{{suite}}.parquet"),
    output:
        SHARDS if CONFIG.keep_activations else temp(SHARDS),
    log:
        f"{RESULTS}/logs/activations/{{suite}}/{{run}}/{{revision}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/activations/{{suite}}/{{run}}/{{revision}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=MERGED,
        corpora=CONFIG.corpora,
        corpus=CONFIG.corpus.model_dump(),
        format_version=FORMAT_VERSION,
    message:
        "extracting {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep activations --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --revision {wildcards.revision} --manifest {input.manifest:q} "
        "--threads {threads} --out {output:q} > {log:q} 2>&1"
