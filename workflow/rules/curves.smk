# Input: the tables of all batches, and the training logs of the runs. Output: the joined tables
# <results>/<name>.parquet, with the names in `TABLES`, and the curves that the figures show,
# <results>/curves/.
CURVE_FILES = expand(f"{RESULTS}/curves/{{name}}.parquet", name=CURVES)


rule join:
    input:
        tables(CONFIG.suites),
        budgets(CONFIG.suites),
        plans=plans(CONFIG.suites),
        manifests=[f"{RESULTS}/manifests/{name}.parquet" for name in CONFIG.suites],
        histories=[f"{RESULTS}/history/{name}.parquet" for name in CONFIG.suites],
    output:
        [f"{RESULTS}/{name}.parquet" for name in TABLES],
    log:
        f"{RESULTS}/logs/join.log",
    benchmark:
        f"{RESULTS}/benchmarks/join.tsv"
    localrule: True
    params:
        results=HERE,
        out=subpath(output[0], parent=True),
    message:
        "joining the tables of all checkpoints"
    shell:
        "shapesweep join --plans {input.plans:q} --manifests {input.manifests:q} "
        "--history {input.histories:q} --results {params.results:q} --out {params.out:q} "
        "> {log:q} 2>&1"


rule curves:
    input:
        rules.join.output,
    output:
        CURVE_FILES,
    log:
        f"{RESULTS}/logs/curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/curves.tsv"
    localrule: True
    params:
        tables=subpath(input[0], parent=True),
        # Snakemake expands braces in a string, but not in the return value of a function.
        tested=lambda w: CONFIG.phases.model_dump_json(),
        out=subpath(output[0], parent=True),
    message:
        "computing the curves"
    shell:
        "shapesweep curves --tables {params.tables:q} --tested {params.tested:q} "
        "--out {params.out:q} > {log:q} 2>&1"
