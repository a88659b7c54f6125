"""An executor on a Ray cluster; extra `ray`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

from otolith.storage.engines import RETRIES

_LARGE = 100_000  # bytes of an argument that is put into the object store once


class RayExecutor(Executor):
    """Submit tasks to the cluster that `address` or `RAY_ADDRESS` names, or to the one that runs on this machine.

    A task whose process or node dies is run again, up to `RETRIES` times. Ray ends its workers with this process.

    Args:
        options: `address` of the cluster, and resources of each task: `num_cpus` (1), `num_gpus`, `memory` (bytes).

    Raises:
        ImportError: Ray is not installed.
        OSError: no cluster can be reached.
        ValueError: an option is unknown or no number.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("the engine ray needs Ray: pip install 'otolith[ray]'") from error
        self._ray, self._stored = ray, dict[bytes, Any]()
        self._resources: dict[str, Any] = {"num_cpus": 1.0}
        for name, value in options.items():
            if name not in ("address", "num_cpus", "num_gpus", "memory"):
                raise ValueError(
                    f"the engine ray has no option '{name}'; it has address, num_cpus, num_gpus and memory"
                )
            if name != "address":
                self._resources[name] = _amount(name, value)
        self._ours = not ray.is_initialized()
        if self._ours:
            address = options.get("address") or os.environ.get("RAY_ADDRESS") or "auto"
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
            except Exception as error:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ConnectionError(
                    f"no Ray cluster can be reached at '{address}': {said}; start one with `ray start --head`, or name "
                    "it with RAY_ADDRESS"
                ) from error
        self._refs: list[Any] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Run a function on the cluster."""
        remote = self._ray.remote(function).options(max_retries=RETRIES, **self._resources)
        ref = remote.remote(*map(self._shared, arguments), **named)
        self._refs.append(ref)
        future: Future[Any] = ref.future()
        return future

    def _shared(self, value: Any) -> Any:
        """Return a reference to a large argument, which is stored once."""
        if not isinstance(value, bytes) or len(value) < _LARGE:
            return value
        if value not in self._stored:
            self._stored[value] = self._ray.put(value)
        return self._stored[value]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what still waits or runs, if asked to; leave the cluster, if this executor joined it."""
        del wait
        if cancel_futures and self._refs:
            _, left = self._ray.wait(self._refs, num_returns=len(self._refs), timeout=0, fetch_local=False)
            for ref in left:
                self._ray.cancel(ref, force=True)
        self._refs, self._stored = [], {}
        if self._ours:
            self._ray.shutdown()


def _amount(name: str, value: str) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise ValueError(f"the option {name} of the engine ray is '{value}'; expected a number, 0 or more")
    return amount
