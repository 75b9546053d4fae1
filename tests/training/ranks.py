"""What the processes of a test do: functions that a new process finds, and that import little."""

from blastscope.errors import BlastscopeError


def as_rank(rank, work):
    """Do the work as a rank."""
    return work(rank=rank)


def fail_in_the_second(rank):
    """Fail in one process; the other one would wait for it for ever."""
    if not rank.first:
        raise BlastscopeError("the second has no disk.")
    rank.wait()
