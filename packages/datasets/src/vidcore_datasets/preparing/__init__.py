"""Prepare the videos of a data set for training: re-encoded, as images, or in shards.

[`jobs_of`][vidcore_datasets.preparing.plan.jobs_of] plans the jobs,
[`run_jobs`][vidcore_datasets.preparing.run.run_jobs] runs them,
[`write_samples`][vidcore_datasets.preparing.samples.write_samples] completes the target.

The output depends only on the videos and the settings. Files appear under their final names once they are complete and
have been read back. A run that was killed, or ran out of disk space, is completed by running it again: existing output
is only checked. The target is valid once ``samples.jsonl``, written last, exists.
"""

from vidcore_datasets.preparing.jobs import Form, Job, Prepared, Result, Settings, Source
from vidcore_datasets.preparing.plan import jobs_of
from vidcore_datasets.preparing.run import do, run_jobs
from vidcore_datasets.preparing.samples import write_samples, write_unreadable
from vidcore_datasets.preparing.target import claimed

__all__ = [
    "Form",
    "Job",
    "Prepared",
    "Result",
    "Settings",
    "Source",
    "claimed",
    "do",
    "jobs_of",
    "run_jobs",
    "write_samples",
    "write_unreadable",
]
