# Takes in: the tables of every checkpoint, and what was recorded while the runs were trained. Hands on:
# all of them joined, <results>/{geometry,replicates,losses,origins,budgets,failures,history,continuity,
# manifest}.parquet, and <results>/curves/ with what is drawn.
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
        "spikes",
        "approaches",
        "warnings",
    ],
)


localrules:
    join,
    curves,


rule join:
    input:
        manifests=MANIFESTS,
        histories=HISTORIES,
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
        geometry=lambda w: f"{RESULTS}/geometry",
        out=lambda w, output: Path(output[0]).parent,
    message:
        "joining the tables of all checkpoints"
    shell:
        "shapesweep join --config {params.config:q} --manifests {input.manifests:q} "
        "--history {input.histories:q} --geometry {params.geometry:q} --budgets {input.budgets:q} "
        "--out {params.out:q} > {log:q} 2>&1"


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
