# Input: the suites under the configuration's key `spikes`. Output in <results>/spikes/: the tables
# and curves of these suites, three figures, and the report warnings.md. The report says whether a
# signal warned of the suites' loss explosions, and describes checkpoints in loss spikes. Only
# `snakemake spikes` computes these files.
import json

from shapesweep.config.hub_suite import HubSuite

SPIKE_SUITES = PLAN.spikes.suites
SPIKE_CURVES = expand(f"{RESULTS}/spikes/curves/{{name}}.parquet", name=CURVES)


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


rule warnings:
    input:
        rules.join_spikes.output,
        rules.curves_spikes.output,
    output:
        report=f"{RESULTS}/spikes/warnings.md",
        curves=expand(f"{RESULTS}/spikes/curves/{{name}}.parquet", name=OF_EXPLOSIONS),
    log:
        f"{RESULTS}/logs/spikes/warnings.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/warnings.tsv"
    localrule: True
    params:
        tables=subpath(input[0], parent=True),
        curves=subpath(output[1], parent=True),
        # Snakemake expands braces in a string, but not in the return value of a function.
        spiked=lambda w: json.dumps(
            {
                name: suite.spiked
                for name, suite in SPIKE_SUITES.items()
                if isinstance(suite, HubSuite)
            }
        ),
    message:
        "scoring the warnings of loss explosions"
    shell:
        "shapesweep warnings --tables {params.tables:q} --curves {params.curves:q} "
        "--spiked {params.spiked:q} --out {output.report:q} "
        "2>&1 | tee {log:q}"


use rule figures as figures_spikes with:
    input:
        SPIKE_CURVES,
        rules.warnings.output,
    output:
        directory(f"{RESULTS}/spikes/figures"),
    log:
        f"{RESULTS}/logs/spikes/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/spikes/figures.tsv"
    params:
        curves=subpath(input[0], parent=True),
        names=["early_warning", "approach", "spiked"],


rule spikes:
    input:
        files(SPIKE_SUITES),
        rules.join_spikes.output,
        rules.curves_spikes.output,
        rules.warnings.output,
        rules.figures_spikes.output,
    message:
        "the report on explosions is up to date"
