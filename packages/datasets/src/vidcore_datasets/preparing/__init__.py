"""A data set's videos made fit for training: re-encoded, as pictures, or in shards.

[`jobs_of`][vidcore_datasets.preparing.plan.jobs_of] says what there is to write,
[`run_jobs`][vidcore_datasets.preparing.run.run_jobs] writes it,
[`write_samples`][vidcore_datasets.preparing.samples.write_samples] completes it.

What is written depends on the videos and the settings alone, and appears under its name when it is complete and has
been read back. So a run that was killed, or that ran out of space, is completed by running it again: what is there is
only looked at. Nothing of a run counts before ``samples.jsonl``, the last to be written, is there.
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
