# Takes in: the suites that the configuration names under spikes. Hands on <results>/spikes/: the same
# tables and curves as of the sweep, of these suites alone, and two figures; and whether anything has
# warned of their explosions, warnings.md. `snakemake spikes` asks for it, and nothing else does.
SPIKE_SUITES = PLAN.spikes.suites
SPIKE_CURVES = [f"{RESULTS}/spikes/curves/{Path(curve).name}" for curve in CURVES]
SPIKE_FIGURES = ["early_warning", "approach"]


use rule join as join_spikes with:
    input:
        tables(SPIKE_SUITES),
        plans=plans(SPIKE_SUITES),
        manifests=[f"{RESULTS}/manifests/{name}.parquet" for name in SPIKE_SUITES],
        histories=[f"{RESULTS}/history/{name}.parquet" for name in SPIKE_SUITES],
    output:
        [f"{RESULTS}/spikes/{name}.parquet" for name in TABLES],
    log:
        f"{RESULTS}/logs/spikes/join.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/join.tsv"


use rule curves as curves_spikes with:
    input:
        rules.join_spikes.output,
    output:
        SPIKE_CURVES,
    log:
        f"{RESULTS}/logs/spikes/curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/curves.tsv"


use rule figure as figure_spikes with:
    input:
        SPIKE_CURVES,
    output:
        f"{RESULTS}/spikes/figures/{{figure}}.svg",
        f"{RESULTS}/spikes/figures/{{figure}}.pdf",
        f"{RESULTS}/spikes/figures/{{figure}}.png",
        f"{RESULTS}/spikes/figures/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/spikes/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/{{figure}}.tsv"


rule warnings:
    input:
        SPIKE_CURVES,
    output:
        f"{RESULTS}/spikes/warnings.md",
    log:
        f"{RESULTS}/logs/spikes/warnings.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/warnings.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        curves=subpath(input[0], parent=True),
    message:
        "saying what has warned"
    shell:
        "shapesweep warnings --curves {params.curves:q} --out {output:q} 2>&1 | tee {log:q}"


rule spikes:
    input:
        files(SPIKE_SUITES),
        rules.join_spikes.output,
        rules.curves_spikes.output,
        f"{RESULTS}/spikes/warnings.md",
        expand(
            f"{RESULTS}/spikes/figures/{{figure}}.{{ext}}",
            figure=SPIKE_FIGURES,
            ext=EXTENSIONS,
        ),
    message:
        "what warned of the explosions is said"
