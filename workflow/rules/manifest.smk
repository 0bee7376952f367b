# Takes in: the folders of a suite's checkpoints. Hands on: <results>/manifests/<suite>.parquet, one
# row a checkpoint.
from shapesweep.checkpoint import model_files, tokenizer_files


def checkpoint_files(suite, run, revision):
    """What a checkpoint is made of: a trained run's folder, or the files that are there."""
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [str(checkpoint_folder(RESULTS, suite, run))]
    folder = SELECTED[suite, run, revision].folder
    log = [path for path in [folder / "trainer_state.json"] if path.is_file()]
    return [str(path) for path in model_files(folder) + tokenizer_files(folder) + log]


def checkpoint_state(suite, run, revision):
    """What makes a checkpoint another one: its place in training, its files' sizes and times.

    A file that is mended with an old time (by rsync, say) is seen by its size or time here.
    """
    chosen = SELECTED[suite, run, revision]
    place = manifests.place(CONFIG.suites[suite], chosen)
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [*place]
    stats = [Path(f).stat() for f in checkpoint_files(suite, run, revision)]
    return [*place, *((stat.st_size, stat.st_mtime_ns) for stat in stats)]


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
        listed=lambda w: as_param([(one.run, one.revision) for one in LISTED[w.suite]]),
        states=lambda w: as_param(
            [checkpoint_state(*key) for key in SELECTED if key[0] == w.suite]
        ),
    message:
        "listing the checkpoints of {wildcards.suite}"
    shell:
        "shapesweep manifest --config {params.config:q} --suite {wildcards.suite} "
        "--out {output:q} > {log:q} 2>&1"
