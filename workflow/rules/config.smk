# Output: <results>/config.yaml, which contains the configuration merged from all files, and
# <results>/settings/, which contains the settings that jobs read. The name of a settings file is
# the digest of its contents, so a job depends only on the part of the configuration that it reads.
# Snakemake's template engine writes these files in the main process, because their contents may be
# too long for a command line. The template is not marked `ancient` anywhere: if the template were
# written while Snakemake updates its plan after a listing, Snakemake would skip all jobs behind it
# (https://github.com/snakemake/snakemake/issues/4166).
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
        rules.template.output,
    output:
        f"{RESULTS}/config.yaml",
    localrule: True
    params:
        # Snakemake expands braces in a string, but not in the return value of a function.
        text=lambda w: configuration.as_yaml(CONFIG),
    message:
        "writing the configuration"
    template_engine:
        "jinja2"


rule settings:
    input:
        rules.template.output,
    output:
        f"{RESULTS}/settings/{{fingerprint}}.yaml",
    localrule: True
    params:
        text=reported(lambda w: PLAN.settings_text(w.fingerprint)),
    message:
        "writing settings {wildcards.fingerprint}"
    template_engine:
        "jinja2"
