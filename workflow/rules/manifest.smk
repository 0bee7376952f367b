# Takes in: the folders of a suite's checkpoints, or what the Hub says of them, which is asked for
# once (again with --forcerun listing) and kept in <results>/listings/. Hands on:
# <results>/manifests/<suite>.parquet, one row a checkpoint. `snakemake manifests` and `snakemake plan`
# say what there is and what it will cost, and measure nothing.
localrules:
    manifests,
    plan,


checkpoint listing:
    input:
        trained,
    output:
        f"{RESULTS}/listings/{{suite}}.json",
    log:
        f"{RESULTS}/logs/listing/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/listing/{{suite}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        config=merged,
        asked=as_param(lambda w: SUITES[w.suite].listing_key()),
    message:
        "listing what {wildcards.suite} has"
    shell:
        "shapesweep listing --config {params.config:q} --suite {wildcards.suite} "
        "--out {output:q} > {log:q} 2>&1"


rule manifest:
    input:
        suite_files,
    output:
        f"{RESULTS}/manifests/{{suite}}.parquet",
    log:
        f"{RESULTS}/logs/manifest/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest/{{suite}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        config=merged,
        selection=str(CONFIG.checkpoints),
        states=suite_states,
    message:
        "listing the checkpoints of {wildcards.suite}"
    shell:
        "shapesweep manifest --config {params.config:q} --suite {wildcards.suite} "
        "--out {output:q} > {log:q} 2>&1"


rule manifests:
    input:
        COUNTED,
    log:
        f"{RESULTS}/logs/manifests.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifests.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=MERGED,
    message:
        "what the suites have"
    shell:
        "shapesweep manifests --config {params.config:q} 2>&1 | tee {log:q}"


rule plan:
    input:
        COUNTED,
    log:
        f"{RESULTS}/logs/plan.log",
    benchmark:
        f"{RESULTS}/benchmarks/plan.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=MERGED,
    message:
        "what the sweep will cost"
    shell:
        "shapesweep plan --config {params.config:q} 2>&1 | tee {log:q}"
