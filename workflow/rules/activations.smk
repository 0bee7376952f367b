# Takes in: a checkpoint's files. Hands on: <results>/activations/<suite>/<run>/
# <revision>/, one Parquet shard a (corpus, layer) and the losses; removed once measured.
from shapesweep.activations import FORMAT_VERSION


def extraction(wildcards):
    """All that a checkpoint's shards depend on, but its files' contents.

    The rule of the geometry names it too: Snakemake forgets the params of a temporary output.
    """
    depends = {
        "state": checkpoint_state(wildcards.suite, wildcards.run, wildcards.revision),
        "corpora": CONFIG.corpora,
        "corpus": CONFIG.corpus.model_dump(),
        "groups": CONFIG.geometry.groups,
        "format_version": FORMAT_VERSION,
    }
    return as_param(depends)


SHARDS = directory(f"{RESULTS}/activations/{{suite}}/{{run}}/{{revision}}")


rule activations:
    input:
        checkpoint=lambda w: checkpoint_files(w.suite, w.run, w.revision),
        text=TEXT or [],
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
        extraction=extraction,
    message:
        "extracting {wildcards.suite}/{wildcards.run}/{wildcards.revision}"
    shell:
        "shapesweep activations --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --revision {wildcards.revision} "
        "--threads {threads} --out {output:q} > {log:q} 2>&1"
