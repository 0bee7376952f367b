# Takes in: the tables of every checkpoint. Hands on: <results>/{geometry,replicates,losses,failures}
# .parquet, all of them joined, and <results>/curves/{profiles,trajectories,phases,missing}.parquet.
CURVES = expand(
    f"{RESULTS}/curves/{{name}}.parquet",
    name=["profiles", "trajectories", "phases", "missing"],
)


localrules:
    join,
    curves,


rule join:
    input:
        manifests=MANIFESTS,
        geometry=folders("geometry"),
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
        "--out {params.results:q} > {log:q} 2>&1"


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
