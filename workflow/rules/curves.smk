# Takes in: the tables of every checkpoint. Hands on: all of them joined, <results>/{geometry,
# replicates,losses,origins,budgets,failures}.parquet, and <results>/curves/ with what is drawn.
CURVES = expand(
    f"{RESULTS}/curves/{{name}}.parquet",
    name=[
        "profiles",
        "trajectories",
        "phases",
        "shapes",
        "distances",
        "comparison",
        "budgets",
        "missing",
    ],
)


localrules:
    join,
    curves,


rule join:
    input:
        manifests=MANIFESTS,
        geometry=marks,
        budgets=budgets,
    output:
        TABLES,
    log:
        f"{RESULTS}/logs/join.log",
    benchmark:
        f"{RESULTS}/benchmarks/join.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=MERGED,
        results=lambda w, output: Path(output[0]).parent,
    message:
        "joining the tables of all checkpoints"
    shell:
        "shapesweep join --config {params.config:q} --manifests {input.manifests:q} --geometry {params.results:q}/geometry "
        "--budgets {input.budgets:q} --out {params.results:q} > {log:q} 2>&1"


rule curves:
    input:
        TABLES,
    output:
        CURVES,
    log:
        f"{RESULTS}/logs/curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/curves.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        tables=lambda w, input: Path(input[0]).parent,
        out=lambda w, output: Path(output[0]).parent,
    message:
        "making the curves"
    shell:
        "shapesweep curves --tables {params.tables:q} --out {params.out:q} > {log:q} 2>&1"
