# What the workflow needs of Snakemake beyond its documented interface, each with the reason.
import os
import sys


def shipped_configuration():
    """The configuration of the workflow itself.

    Snakemake gives files of a workflow as copies, also where the workflow is on this machine.
    """
    copy = workflow.source_path("../../config/config.yaml")
    original = os.path.normpath(copy.flags["sourcecache_entry"])
    return original if os.path.isfile(original) else copy


def configuration_files():
    """The files that the configuration was merged from, so that an error names the one at fault.

    Snakemake hands on the merged configuration alone. A workflow that imports this one gives
    its configuration, which may come from anywhere.
    """
    if workflow.modifier.skip_configfile:
        return []
    return [shipped_configuration(), *workflow.overwrite_configfiles]


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


def refuse_storage():
    """End with one line if outputs are to go to a remote storage.

    Plans and jobs read earlier results from the disk, and would miss what lies in a store.
    """
    provider = workflow.storage_settings.default_storage_provider
    if provider:
        sys.exit(
            f"shapesweep: error: --default-storage-provider {provider}: results must be on a "
            "file system; leave it out, and copy the results afterwards"
        )


def warn_without_profile():
    """Print one line if the workflow's profile is not in use.

    A workflow that is imported as a module does not bring its profile. While the workflow is read,
    only some of the profile's options can be seen.
    """
    if is_main_process() and not workflow.output_settings.show_failed_logs:
        logger.warning(
            "shapesweep: the workflow's profile is not in use, so a job that fails ends the sweep; "
            "to use it, add --workflow-profile with profiles/default of a clone of shapesweep"
        )
