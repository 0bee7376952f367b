# What the workflow needs of Snakemake beyond its documented interface, each with the reason.
def configuration_files():
    """The files that the configuration was merged from, so that an error names the one at fault.

    Snakemake hands on the merged configuration alone.
    """
    shipped = workflow.source_path("../../config/config.yaml")
    return [shipped, *workflow.overwrite_configfiles]


def is_main_process():
    """Whether this process plans the sweep, and is not a job of it.

    A job on a cluster makes its own plan, in which checkpoint rules are never complete.
    """
    return workflow.is_main_process


def set_limits(chosen):
    """Limit the downloads, unless the command line or the profile does.

    Snakemake has no way to set global resources from a configuration.
    """
    # What all downloads may fill together, and how many may run at a time.
    limits = {"disk_mb": int(chosen.hub.disk_gb * 1000), "hub": chosen.hub.downloads}
    for resource, limit in limits.items():
        workflow.global_resources.setdefault(resource, max(1, limit))
