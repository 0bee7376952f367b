# Takes in: the folders of a suite's checkpoints. Hands on: <results>/manifests/<suite>.parquet, one
# row a checkpoint.
from shapesweep.checkpoint import model_files, tokenizer_files


def checkpoint_files(suite, run, revision):
    """What a checkpoint is made of: a trained run's folder, or the files that are there."""
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [str(checkpoint_folder(RESULTS, suite, run))]
    folder = SELECTED[suite, run, revision].folder
    return [str(path) for path in model_files(folder) + tokenizer_files(folder)]


rule manifest:
    input:
        lambda w: sorted(
            {
                f
                for key in SELECTED
                if key[0] == w.suite
                for f in checkpoint_files(*key)
            }
        ),
    output:
        f"{RESULTS}/manifests/{{suite}}.parquet",
    log:
        f"{RESULTS}/logs/manifest/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest/{{suite}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        config=MERGED,
        selection=str(CONFIG.checkpoints),
        listed=lambda w: [(one.run, one.revision) for one in LISTED[w.suite]],
    message:
        "listing the checkpoints of {wildcards.suite}"
    shell:
        "shapesweep manifest --config {params.config:q} --suite {wildcards.suite} "
        "--out {output:q} > {log:q} 2>&1"
