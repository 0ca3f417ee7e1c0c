"""Explanations of the errors of a data loader's worker processes. Imports no torch."""

from __future__ import annotations

from vidcore.errors import UserError

_SHARED = (
    "shared memory (/dev/shm), in which worker processes pass on batches, is full: enlarge it (docker run "
    "--shm-size=8g or --ipc=host)"
)
_KILLED = "a worker process ended unexpectedly, as it does when memory runs out and the system kills it"
_FILES = "worker processes need more open files than are allowed: raise the limit (ulimit -n)"
_REASONS = {
    "killed by signal: Bus error": _SHARED,
    "unable to allocate shared memory": _SHARED,
    "unable to mmap": _SHARED,
    "No space left on device": _SHARED,
    "killed by signal: Killed": _KILLED,
    "killed by signal": "a worker process crashed, which a broken file can cause (vid data check finds it)",
    "exited unexpectedly": _KILLED,
    "Too many open files": _FILES,
    "received 0 items of ancdata": _FILES,
}
"""Part of what torch or the system says, and what it means; the first that fits counts."""

_BEGINNINGS = ("DataLoader worker (pid", "Too many open files. Communication", "received 0 items of ancdata")
"""Of the errors that torch raises where a worker process is lost. What a worker process raised begins otherwise."""


class WorkerError(UserError):
    """A worker process of a data loader failed. The text says what happened and what to do."""


def worker_error(error: BaseException) -> WorkerError | None:
    """Explain the error that torch raises where a data loader lost a worker process.

    Returns:
        The explanation; None if ``error`` is of another kind.
    """
    # Where torch wraps one such error in another, only the inner one names the signal.
    texts = [str(seen) for seen in (error.__cause__, error) if isinstance(seen, RuntimeError)]
    text = next((text for text in texts if text.startswith(_BEGINNINGS)), None)
    return None if text is None else explained(text)


def explained(text: str) -> WorkerError:
    """Explain what torch or the system said of a worker process."""
    reason = next((reason for part, reason in _REASONS.items() if part in text), "a worker process failed")
    return WorkerError(
        f"{reason}; or lower batch_size or num_workers, or use no worker processes: --data.num_workers 0 "
        f"(vid predict: --num_workers 0). Reported: {text.strip().splitlines()[0]}"
    )
