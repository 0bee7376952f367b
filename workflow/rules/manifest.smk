# Input: the folders of a suite's checkpoints, or the Hub. The Hub is queried once (and again with
# --forcerun listing), and <results>/listings/ stores its responses. The listing of a local suite
# fetches its base models on the Hub. Output:
# <results>/manifests/<suite>.parquet, with one row per checkpoint, and files in
# <results>/plans/<suite>/, which list the batches to be measured. `snakemake manifests` prints the
# checkpoints of all suites, and `snakemake plan` prints the cost of the sweep. Neither command
# measures anything.
checkpoint listing:
    input:
        trained,
    output:
        f"{RESULTS}/listings/{{suite}}.json",
    log:
        f"{RESULTS}/logs/listing/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/listing/{{suite}}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
        calls=CONFIG.hub.downloads,
    params:
        results=HERE,
        definition=reported(
            lambda w: definitions.for_listing(w.suite, PLAN.suites[w.suite])
        ),
    message:
        "listing the checkpoints of {wildcards.suite}"
    shell:
        "shapesweep listing --definition {params.definition:q} --suite {wildcards.suite} "
        "--results {params.results:q} --calls {resources.calls} --out {output:q} > {log:q} 2>&1"


rule record:
    input:
        rules.template.output,
    output:
        f"{RESULTS}/plans/{{suite}}/{{fingerprint}}.json",
    localrule: True
    params:
        text=reported(lambda w: PLAN.record_text(w.suite, w.fingerprint)),
    message:
        "recording the plan of {wildcards.suite}"
    template_engine:
        "jinja2"


rule manifest:
    input:
        suite_files,
        text_files,
        plan=plan_file,
    output:
        # The job reads the earlier manifest, so that unchanged files are not hashed again.
        update(f"{RESULTS}/manifests/{{suite}}.parquet"),
    log:
        f"{RESULTS}/logs/manifest/{{suite}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest/{{suite}}.tsv"
    localrule: True
    params:
        results=HERE,
    message:
        "checking the files of {wildcards.suite}"
    shell:
        "shapesweep manifest --plan {input.plan:q} "
        "--results {params.results:q} --out {output:q} > {log:q} 2>&1"


# MANIFESTS leaves out embedded suites, so that the targets `manifests` and `plan` do not train
# them. The checkpoints of embedded suites are counted without manifests.
MANIFESTS = [
    f"{RESULTS}/manifests/{name}.parquet"
    for name, suite in CONFIG.suites.items()
    if not isinstance(suite, EmbeddedSuite)
]


rule manifests:
    input:
        MANIFESTS,
        config=rules.config.output,
    log:
        f"{RESULTS}/logs/manifests.log",
    localrule: True
    params:
        results=HERE,
    message:
        "counting the checkpoints of all suites"
    shell:
        "shapesweep manifests --config {input.config:q} --results {params.results:q} "
        "2>&1 | tee {log:q}"


rule plan:
    input:
        MANIFESTS,
        config=rules.config.output,
    log:
        f"{RESULTS}/logs/plan.log",
    localrule: True
    params:
        results=HERE,
    message:
        "estimating the cost of the sweep"
    shell:
        "shapesweep plan --config {input.config:q} --results {params.results:q} 2>&1 | tee {log:q}"
