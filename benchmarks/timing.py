"""Measure the processor time of a call."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of some calls, after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)
