# Takes in: what the manifest pins of checkpoints on the Hub. Hands on: <results>/checkpoints/<suite>/
# <run>/<batch>/ (or in the configuration's scratch) with the files that are needed, removed once
# measured, and the run's tokenizer, which is kept, in <results>/tokenizers/<suite>/<run>/. Downloads
# hold no core: they run ahead of the computing as far as hub.downloads and hub.disk_gb allow, and wait
# for room by themselves.
rule download:
    input:
        listing=ancient(f"{RESULTS}/listings/{{suite}}.json"),
        tokenizer=ancient(f"{RESULTS}/tokenizers/{{suite}}/{{run}}"),
    output:
        temp(directory(f"{PASSING}/checkpoints/{{suite}}/{{run}}/{{batch}}")),
    log:
        f"{RESULTS}/logs/download/{{suite}}/{{run}}/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/download/{{suite}}/{{run}}/{{batch}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 0
    resources:
        mem_mb=1000,
        runtime=costs.DOWNLOAD_MINUTES,
        disk_mb=disk_mb,
        hub=1,
    params:
        config=merged,
        revisions=lambda w: batch(w).revisions,
        # A checkpoint that goes by itself may be wanted for more than its geometry.
        measured=lambda w: (
            f"{RESULTS}/geometry/{w.suite}/{w.run}"
            if len(batch(w).members) > 1
            else ""
        ),
        seconds=claim_seconds,
    message:
        "downloading {wildcards.suite}/{wildcards.run}/{wildcards.batch}"
    shell:
        "shapesweep download --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --revision {params.revisions:q} --tokenizer={input.tokenizer:q} "
        "--measured={params.measured:q} --seconds {params.seconds:q} --out {output:q} > {log:q} 2>&1"


rule tokenizer:
    input:
        ancient(f"{RESULTS}/listings/{{suite}}.json"),
    output:
        directory(f"{RESULTS}/tokenizers/{{suite}}/{{run}}"),
    log:
        f"{RESULTS}/logs/tokenizer/{{suite}}/{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tokenizer/{{suite}}/{{run}}.tsv"
    # Every checkpoint of the run waits for it.
    priority: 20
    conda:
        "../../envs/environment.yaml"
    threads: 0
    resources:
        mem_mb=1000,
        runtime=60,
        hub=1,
    params:
        config=merged,
        asked=as_param(lambda w: SUITES[w.suite].listing_key()),
    message:
        "fetching the tokenizer of {wildcards.suite}/{wildcards.run}"
    shell:
        "shapesweep tokenizer --config {params.config:q} --suite {wildcards.suite} "
        "--run {wildcards.run} --out {output:q} > {log:q} 2>&1"
