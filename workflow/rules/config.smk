# Hands on: <results>/config.yaml, the configuration that is used, merged from all files; and
# <results>/settings/, what jobs read of it. A settings file is named by its contents, so that a job
# depends on no more of the configuration than it reads.
localrules:
    config,
    settings,


rule config:
    output:
        f"{RESULTS}/config.yaml",
    log:
        f"{RESULTS}/logs/config.log",
    params:
        # A function, since Snakemake expands the braces of a plain string.
        text=lambda w: configuration.as_yaml(CONFIG),
    message:
        "writing the configuration"
    script:
        "../scripts/write_text.py"


rule settings:
    output:
        f"{RESULTS}/settings/{{fingerprint}}.yaml",
    log:
        f"{RESULTS}/logs/settings/{{fingerprint}}.log",
    params:
        text=lambda w: PLAN.settings_text(w.fingerprint),
    message:
        "writing settings {wildcards.fingerprint}"
    script:
        "../scripts/write_text.py"
