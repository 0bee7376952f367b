# Functions that use internals of Snakemake. The docstring of each function says why the function
# needs internals.
import os
import sys

from snakemake.exceptions import WorkflowError


def shipped_configuration():
    """Return the path of config/config.yaml of this workflow.

    Snakemake returns the path of a copy, even if the workflow is on this machine.
    """
    copy = workflow.source_path("../../config/config.yaml")
    original = os.path.normpath(copy.flags["sourcecache_entry"])
    return original if os.path.isfile(original) else copy


def configuration_files():
    """Return the files that the configuration was merged from, for error messages.

    Snakemake passes on only the merged configuration. A workflow that imports this workflow sets the
    configuration itself, so no files are known.
    """
    if workflow.modifier.skip_configfile:
        return []
    return [shipped_configuration(), *workflow.overwrite_configfiles]


def is_main_process():
    """Return whether this process plans the sweep, rather than runs one of its jobs.

    A job on a cluster plans again, and in its process no checkpoint rule is ever complete.
    """
    return workflow.is_main_process


def set_limits(chosen):
    """Limit the downloads, unless the command line or the profile already limits them.

    Snakemake's documented interface cannot set global resources from a configuration.
    """
    # The resource disk_mb limits the total disk space of all downloads, and the resource hub limits
    # the number of concurrent downloads.
    limits = {"disk_mb": int(chosen.hub.disk_gb * 1000), "hub": chosen.hub.downloads}
    for resource, limit in limits.items():
        workflow.global_resources.setdefault(resource, max(1, limit))


def check_that_all_jobs_ran():
    """Fail if Snakemake reports success although jobs of the plan did not run.

    With `keep-going`, Snakemake does not check whether jobs are left that never became ready. If
    another job ends while Snakemake updates its plan after a listing, all jobs may drop out of the
    plan, so the files of the targets are checked, too.
    """
    left = list(workflow.dag.needrun_jobs())
    if left:
        raise WorkflowError(
            f"shapesweep: error: {len(left)} jobs did not run, such as {left[0].rule.name}; run again"
        )
    for job in workflow.dag.targetjobs:
        for path in job.output or job.input:
            if not os.path.exists(path):
                raise WorkflowError(
                    f"shapesweep: error: {path} was not written; run again"
                )


def retries_after(attempt):
    """Return how often a job will be repeated if this attempt fails.

    Snakemake does not tell a job on a cluster the number of retries, so the job gets this number
    from the environment of the main process.
    """
    # While Snakemake reads the workflow, the settings of the execution are not known yet.
    if is_main_process() and workflow.execution_settings:
        os.environ["SHAPESWEEP_RETRIES"] = str(workflow.execution_settings.retries)
    return max(0, int(os.environ["SHAPESWEEP_RETRIES"]) + 1 - attempt)


def refuse_storage():
    """Exit with a one-line error if a remote storage is set for the outputs.

    Plans and jobs read earlier results from the disk, and would not find them in a remote storage.
    """
    provider = workflow.storage_settings.default_storage_provider
    if provider:
        sys.exit(
            f"shapesweep: error: --default-storage-provider {provider}: results must be on a "
            "file system; leave out this option, and copy the results afterwards"
        )


def warn_without_profile():
    """Print a one-line warning if the workflow's profile is not in use.

    A workflow that is imported as a module comes without its profile. A workflow can read only some
    of the options that its profile sets. show_failed_logs is one of them.
    """
    if is_main_process() and not workflow.output_settings.show_failed_logs:
        logger.warning(
            "shapesweep: the workflow's profile is not in use, so a job that fails ends the sweep; "
            "to use the profile, add --workflow-profile <clone of shapesweep>/profiles/default"
        )


os.environ.setdefault("SHAPESWEEP_RETRIES", "0")


# Snakemake passes this variable to jobs on a cluster.
envvars:
    "SHAPESWEEP_RETRIES",
