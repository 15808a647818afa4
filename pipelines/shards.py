"""Parts of a manifest on a Ray cluster: the only file that knows Ray.

Ray Data streams the numbers of parts through actors that load the networks once each, as many at a time as there is
work for, and brings finished parts back to the process that asked, which alone writes. So a part is written once,
whatever happens to a worker or to a whole machine: what they had not finished is done by others. Every machine has to
see manifest, images and weights under the same paths, and needs the package installed.
"""

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from autolabel.errors import AutolabelError, ConfigError, InputError, WorkError
from autolabel.progress import Task
from pipelines.parts import Engine, Part

_AHEAD = 2
"""Parts that wait at an actor or are worked on by it."""

_PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""


@dataclass(frozen=True)
class Cluster:
    """Where parts are worked on.

    Attributes:
        address: Of a cluster that runs already, ``auto`` for the one of this machine; "" starts one here for the job.
        gpu: True for a GPU an actor, False for none, None for GPUs where the cluster has any.
    """

    address: str = ""
    gpu: bool | None = None


def pick_engine(
    engine: str, ray_address: str | None, local: Engine, make: Callable[[], Callable[[int], Part]], device: str
) -> Engine:
    """What works through the parts, as the options of a command have it.

    Args:
        engine: ``local`` or ``ray``.
        ray_address: Of a cluster that runs already; None for none.
        local: The engine of this process.
        make: As for :func:`map_parts`.
        device: What the command was told: only ``cpu`` keeps workers from GPUs, and only ``cuda`` asks for them.

    Raises:
        ConfigError: There is no such engine, Ray is not installed, or an address is given without it.
    """
    check_engine(engine, ray_address)
    if engine == "local":
        return local
    return map_parts(make, Cluster(ray_address or "", None if device == "auto" else device != "cpu"))


def check_engine(engine: str, ray_address: str | None) -> None:
    """Refuse what cannot be used, before anything slow is done.

    Raises:
        ConfigError: As :func:`pick_engine`.
    """
    if engine == "local":
        if ray_address is not None:
            raise ConfigError("has no address", subject="--engine local", remedy="Give --engine ray beside it.")
    elif engine == "ray":
        _library()
    else:
        raise ConfigError(f"unknown engine {engine!r}", subject="--engine", remedy="Use local or ray.")


def map_parts(
    make: Callable[[], Callable[[int], Part]], cluster: Cluster
) -> Callable[[Sequence[int], Task], Iterator[tuple[int, Part]]]:
    """An engine for :func:`pipelines.parts.write_parts`.

    Args:
        make: Called once in each actor, for what works on a part by its number. It has to travel: a function of a
            module with arguments that can be pickled.
        cluster: Where.

    Raises:
        ConfigError: Ray is not installed.
        InputError: There is no cluster at the address, or it has no GPU and one is asked for.
        WorkError: Ray gave up, for instance because no machine is left.
    """
    ray = _library()

    def work(numbers: Sequence[int], task: Task) -> Iterator[tuple[int, Part]]:
        if not numbers:
            return
        with _connected(ray, cluster.address), _explained(ray):
            for row in _dataset(ray, make, numbers, cluster).iter_rows():
                part = cast("Part | AutolabelError", row["done"])
                if isinstance(part, AutolabelError):
                    raise part
                task.advance(len(part.samples))
                yield int(row["part"]), part

    return work


def _dataset(ray: Any, make: Callable[[], Callable[[int], Part]], numbers: Sequence[int], cluster: Cluster) -> Any:
    """Finished parts, as they come."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the job's own progress says what there is to say
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    if cluster.gpu and not gpus:
        raise InputError("has no GPU", subject="the Ray cluster", remedy="Use --device cpu or auto.")
    on_gpu = gpus > 0 and cluster.gpu is not False
    cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
    if not on_gpu and not cores:
        raise InputError("has no CPU to work on", subject="the Ray cluster")
    # An actor a GPU; or an actor a machine, with as many threads as the smallest machine has cores.
    size = gpus if on_gpu else len(cores)
    share = {"num_gpus": 1} if on_gpu else {"num_cpus": min(cores)}
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=min(size, len(numbers)), max_tasks_in_flight_per_actor=_AHEAD
    )
    parts = ray.data.from_items([{"part": i} for i in numbers], override_num_blocks=len(numbers))
    return parts.map_batches(_Actor, batch_size=1, compute=pool, fn_constructor_args=(make,), **share)


class _Actor:
    """Works on parts with what ``make`` gives it."""

    def __init__(self, make: Callable[[], Callable[[int], Part]]) -> None:
        # An actor that cannot be made is made again and again, so what is wrong is told by the first part.
        self._wrong: AutolabelError | None = None
        try:
            self._work = make()
        except AutolabelError as error:
            self._wrong = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        (number,) = batch["part"].tolist()
        done = np.empty(1, object)
        done[0] = self._answer(number)
        return {"part": batch["part"], "done": done}

    def _answer(self, number: int) -> Part | AutolabelError:
        """A part, or why there is none: of an error that is raised, Ray brings its text alone."""
        if self._wrong is not None:
            return self._wrong
        try:
            return self._work(number)
        except AutolabelError as error:
            return error


def _library() -> Any:
    try:
        import ray
        import ray.data  # pyright: ignore[reportUnusedImport]  # ray alone does not load it
    except ImportError as error:
        raise ConfigError(
            "needs Ray", subject="--engine ray", remedy="pip install 'skeleton-autolabel[ray]', on every machine."
        ) from error
    return cast("Any", ray)


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:
    """Ray, connected; what was started for the job ends with it."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    try:
        if address:
            _knock(address)
            ray.init(address=address, **quiet)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report its use to its makers
            ray.init(include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster can be reached: {error}",
            subject=f"--ray-address {address}" if address else "--engine ray",
            remedy="Start one with `ray start --head`, or leave --ray-address out for one of the job's own.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See that somebody is there: Ray tries for many minutes.

    Raises:
        OSError: Nobody is.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


@contextmanager
def _explained(ray: Any) -> Generator[None]:
    """What Ray says as an error of ours."""
    try:
        yield
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise WorkError(
            f"Ray gave up: {lines[-1] if lines else type(error).__name__}",
            remedy="The same command goes on with the parts that are left.",
        ) from error
