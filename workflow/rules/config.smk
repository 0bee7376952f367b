# Out: <results>/config.yaml, the configuration in use, merged from all files; and
# <results>/settings/, the settings that jobs read. Each settings file is named by its contents, so
# that a job depends on no more of the configuration than it reads.
# Snakemake's template engine writes texts of any length in its own process.
rule template:
    output:
        f"{RESULTS}/settings/text.jinja",
    log:
        f"{RESULTS}/logs/settings/template.log",
    localrule: True
    message:
        "writing the template of settings"
    shell:
        "printf '{{{{ params.text }}}}' > {output:q} 2> {log:q}"


rule config:
    input:
        ancient(rules.template.output),
    output:
        f"{RESULTS}/config.yaml",
    localrule: True
    params:
        # A function, since Snakemake expands the braces of a plain string.
        text=lambda w: configuration.as_yaml(CONFIG),
    message:
        "writing the configuration"
    template_engine:
        "jinja2"


rule settings:
    input:
        ancient(rules.template.output),
    output:
        f"{RESULTS}/settings/{{fingerprint}}.yaml",
    localrule: True
    params:
        text=reported(lambda w: PLAN.settings_text(w.fingerprint)),
    message:
        "writing settings {wildcards.fingerprint}"
    template_engine:
        "jinja2"
