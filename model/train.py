"""Training: one loop for supervised training, fine-tuning and pre-training.

Step ``n`` depends on the recipe, the data and ``n`` alone (its samples, its random crops, its learning rate), so that
a run that was killed goes on from its last saved state as if nothing had happened, and so that several processes, or
slices of a batch that does not fit, compute what one process would. The result is a checkpoint folder: with validation
it holds the best network, and ``last/`` the last one. Beside it stand ``metrics.jsonl``, one line every few steps, and
``state.pt`` while unfinished.

What is trained, and on what, is an :class:`model.objective.Objective` and its examples; what follows from the settings
is in :mod:`model.recipe`.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autolabel.errors import WorkError
from autolabel.progress import SILENT, Progress, Task
from model.batches import MixedBatches
from model.draws import Draws, hashed
from model.memory import is_out_of_memory, largest_that_fits
from model.objective import Batch, Drawn, Examples, Objective
from model.recipe import Training
from model.tensorboard import board
from model.train_processes import OwnRows, accelerator_of, plain_attention
from model.training_state import METRICS, STATE, Average, Standing, State, Write, metrics_file

SHOWN = ("loss", "pck", "crops_per_second")
"""What the progress bar shows of a line of metrics."""

LAST_GOOD = "last-good"
"""Folder of the network before the step whose loss was no number."""

LAST = "last"
"""Folder of the last network, where the best one is another."""

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Measures a network: ``score`` is what is compared, higher is better; the rest is shown."""

CROPS, _DEPTH = 0, 1  # streams of random numbers that know nothing of one another


@dataclass(frozen=True)
class Data:
    """What a training draws from.

    Attributes:
        examples: All of them.
        shares: Relative share of each of their sources in every batch.
    """

    examples: Examples
    shares: Sequence[float]


def train(
    objective: Objective,
    data: Data,
    how: Training,
    out: Path,
    *,
    identity: Mapping[str, Any],
    validate: Validate | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train a network in place and save it. Seeds torch's global random numbers.

    Started by ``accelerate launch`` in several processes, each trains on its rows of every batch; the first one writes.

    Args:
        objective: What is trained. Its network ends up in evaluation mode, as the last step left it.
        data: What to train on.
        how: The recipe.
        out: The checkpoint folder. A ``state.pt`` in it is gone on from, and is left for the caller to remove when the
            result is recorded.
        identity: JSON values that a state must agree with, by part: the network's description.
        validate: Measures the network every ``how.validate_every`` steps, and at the end.
        progress: Where to report.

    Returns:
        The last line of metrics; with validation also the best one's, each name with ``best_`` before it.

    Raises:
        InputError: An image cannot be read.
        ConfigError: A device, precision, share or number of processes that cannot be.
        CheckpointError: ``state.pt`` is damaged, or belongs to another network or recipe.
        WorkError: The loss is no longer finite (the network before that step is in ``last-good/``), memory does not
            suffice (says what would fit), or the disk is full.
    """
    accelerator = accelerator_of(how.device, how.precision)
    loop = _Loop(objective, data, how, out, identity, validate, accelerator)
    return loop.run(progress)


class _Loop:
    """One training, from its settings to its checkpoint."""

    def __init__(
        self,
        objective: Objective,
        data: Data,
        how: Training,
        out: Path,
        identity: Mapping[str, Any],
        validate: Validate | None,
        accelerator: Accelerator,
    ) -> None:
        self.objective, self.data, self.how, self.out = objective, data, how, out
        self.validate, self.accelerator = validate, accelerator
        self.ranks, self.rank = accelerator.num_processes, accelerator.process_index
        self.own = how.share(self.ranks)
        groups = objective.groups(how.weight_decay, how.layer_decay)
        optimizer = torch.optim.AdamW(groups, lr=how.learning_rate, betas=how.betas, fused=True)
        self.average = Average(objective.network, how.ema) if how.ema else None
        self.standing = Standing()
        parts = {**identity, "recipe": how.model_dump(mode="json")}
        self.state = State(
            out / STATE, parts, objective.network, optimizer, accelerator.scaler, self.average, self.standing
        )

    def run(self, progress: Progress) -> dict[str, Any]:
        """All steps that are left."""
        how, accelerator = self.how, self.accelerator
        self.out.mkdir(parents=True, exist_ok=True)
        start = self._agreed(self.state.restore())
        if how.compile:
            self.objective.network.compile()
        self.network, self.optimizer = accelerator.prepare(self.objective.network.train(), self.state.optimizer)
        if self.average is not None:
            self.average.network.to(accelerator.device)
        shown = progress if self._leads else SILENT
        with ExitStack() as stack:
            stack.enter_context(plain_attention(accelerator.device))
            task = stack.enter_context(shown.task("train", how.steps, "step"))
            writers = [stack.enter_context(writer) for writer in self._writers(start)]
            task.advance(start)
            self._steps(start, task, writers)
        if self.standing.gave_up(how.patience):
            best = self.standing.best["step"]
            shown.note(f"stopped: {how.patience} validations brought nothing better than step {best}")
        # Undoes what ``prepare`` did to the network's forward, which would stay in mixed precision for ever.
        accelerator.unwrap_model(self.network, keep_fp32_wrapper=False, keep_torch_compile=False).eval()
        return self._finish()

    def _agreed(self, start: int) -> int:
        """The step that all processes go on with.

        Raises:
            WorkError: They see different states.
        """
        starts = self._gathered(start)
        if len(set(starts)) > 1:
            raise WorkError(
                f"the processes would go on from steps {starts}: not all of them see {self.state.path}",
                subject="training",
                remedy="Give an --out on a disk that all machines share.",
            )
        return start

    @property
    def _leads(self) -> bool:
        return self.accelerator.is_main_process

    def _writers(self, start: int) -> "list[AbstractContextManager[Write]]":
        """Where lines of metrics go: nowhere but in the first process."""
        return [metrics_file(self.out / METRICS, start), board(self.out, start)] if self._leads else []

    def _steps(self, start: int, task: Task, writers: Sequence[Write]) -> None:
        how, clock = self.how, _Clock()
        for step, batch in zip(range(start, how.steps), self._batches(start), strict=True):
            losses, shown = self._step(step, batch.to(self.accelerator.device))
            done = step + 1
            logs, ends = done % how.log_every == 0 or done == how.steps, done == how.steps
            validates = self.validate is not None and (ends or (how.validate_every and done % how.validate_every == 0))
            record: dict[str, Any] = {}
            if logs or validates:
                numbers = {**self._mean(losses), **self._mean(shown())}
                speed = how.batch_size * clock.rate(done - start)
                record = {"step": done, **numbers, "learning_rate": how.rate(step), "crops_per_second": speed}
                if validates:
                    record |= self._validated(done)
                    clock.skip()
                self.standing.last = record
                for write in writers:
                    write(record)
            task.advance(1, **{name: record[name] for name in SHOWN if name in record})
            if self.standing.gave_up(how.patience):
                return
            if done % how.save_every == 0 and not ends and self._leads:
                self.state.save(done)

    def _step(self, step: int, batch: Batch) -> tuple[dict[str, Tensor], Callable[[], Any]]:
        """One step of the optimizer.

        Returns:
            The losses over this process' rows, and what computes the metrics of its last slice.
        """
        how = self.how
        for group in self.optimizer.param_groups:
            group["lr"] = how.rate(step) * group["lr_scale"]
        self.optimizer.zero_grad()
        total: dict[str, Tensor] = {}
        outputs: Any = None
        drawn: Any = None
        for part in range(how.accumulate):
            rows = len(range(part, self.own, how.accumulate))
            last = part == how.accumulate - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                found = self._learn(step, part, batch, rows / self.own)
            if found is None:
                outputs = drawn = None
                raise self._too_large(step, batch, rows)
            outputs, drawn, losses = found
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + value.detach() * (rows / self.own)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), how.grad_clip)
        self._require_finite(total["loss"], norm, step)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.objective.network, step)
        return total, lambda: self.objective.metrics(outputs, drawn)

    def _learn(
        self, step: int, part: int, batch: Batch, share: float
    ) -> tuple[Any, Drawn, Mapping[str, Tensor]] | None:
        """Forward and backward of one slice, which is ``share`` of this process' rows; None if memory did not suffice.

        The error is not handed on: its traceback would keep alive what the failed attempt had computed, and nothing
        could be found out about what would fit beside that.
        """
        try:
            found = self._slice(step, part, batch)
            self.accelerator.backward(found[2]["loss"] * share)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return found

    def _slice(self, step: int, part: int, batch: Batch) -> tuple[Any, Drawn, Mapping[str, Tensor]]:
        """Outputs, what was drawn and losses of one slice of this process' rows."""
        how = self.how
        draws = Draws(
            hashed(how.seed, CROPS),
            step,
            how.batch_size,
            slice(self.rank + self.ranks * part, None, self.ranks * how.accumulate),
            self.accelerator.device,
        )
        drawn = self.objective.draw(batch.rows(slice(part, None, how.accumulate)), draws)
        # Stochastic depth draws from the global generator, which no earlier step may have a say in.
        torch.manual_seed(hashed(how.seed, step, _DEPTH, self.rank, part))
        outputs = self.network(*drawn.inputs)
        return outputs, drawn, self.objective.losses(outputs, drawn)

    def _too_large(self, step: int, batch: Batch, rows: int) -> WorkError:
        """What to say after memory did not suffice for a slice of ``rows``: which number of them would."""

        def works(count: int) -> None:
            self.optimizer.zero_grad()
            draws = Draws(0, step, self.how.batch_size, slice(0, count), self.accelerator.device)
            drawn = self.objective.draw(batch.rows(slice(0, count)), draws)
            # The network itself and not its wrapper, whose processes would wait for one another.
            self.accelerator.backward(self.objective.losses(self.objective.network(*drawn.inputs), drawn)["loss"])

        fits = largest_that_fits(works, rows)
        if not fits:
            remedy = "Not even one fits: take a smaller network or input size, or checkpoint_activations = true."
        else:
            slices = math.ceil(self.own / fits)
            remedy = (
                f"{fits} at once would fit: set accumulate = {slices}, which gives the same result, "
                f"or batch_size = {fits * self.ranks}."
            )
        return WorkError(f"out of memory with {rows} crops at once", subject="training", remedy=remedy)

    def _require_finite(self, loss: Tensor, norm: Tensor | None, step: int) -> None:
        """Stop before a loss that is no number reaches the weights, in every process, and keep these.

        They are good, as the loss of every step before was: saved as a checkpoint, another recipe can go on from them.
        """
        # fp16 overflows now and then: its scaler skips the step and halves its factor, which below 1 is no excuse.
        excused = self.accelerator.scaler is not None and self.accelerator.scaler.get_scale() >= 1
        gradient = norm is None or excused or torch.isfinite(norm)  # of all processes: gradients are summed
        if bool(torch.isfinite(loss) & gradient):
            return
        images = self.data.examples.names(next(iter(self._places(step)))) if not torch.isfinite(loss) else []
        names = [name for part in self._gathered(images) for name in part] or ["which the loss does not tell"]
        few = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        good = self.out / LAST_GOOD
        if self._leads:
            self.objective.save(self._result, good, self.standing.last)
        raise WorkError(
            f"the loss is no number at step {step + 1}, whose crops are of {few}",
            subject="training",
            remedy=f"Look at these images and labels. {good} is the network before that step: go on from it "
            f'(init = "{good}") in another --out with a lower learning rate, or with precision fp32.',
        )

    def _gathered(self, value: Any) -> list[Any]:
        """What every process has, in every process."""
        if self.ranks == 1:
            return [value]
        values: list[Any] = [None] * self.ranks
        torch.distributed.all_gather_object(values, value)
        return values

    def _batches(self, start: int) -> Iterator[Any]:
        """This process' rows of the batches from ``start`` on, read ahead by the data loader's workers."""
        loader: Any = DataLoader
        return iter(
            loader(
                self.data.examples,
                batch_size=None,
                sampler=self._places(start),
                num_workers=self.how.workers,
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )

    def _places(self, start: int) -> "OwnRows":
        how = self.how
        sizes, shares = self.data.examples.sizes, list(self.data.shares)
        whole = MixedBatches(sizes, shares, batch_size=how.batch_size, start=start, stop=how.steps, seed=how.seed)
        return OwnRows(whole, self.rank, self.ranks)

    def _mean(self, numbers: Mapping[str, Tensor]) -> dict[str, float]:
        """Over the processes."""
        reduce: Any = self.accelerator.reduce
        return {name: reduce(value.detach().float(), "mean").item() for name, value in numbers.items()}

    # ---- what comes of it

    def _validated(self, step: int) -> dict[str, float]:
        """Measure the network, keep it if it is the best so far, and say what came out, in every process."""
        found: dict[str, float] = {}
        if self._leads:
            found = {f"validation_{name}": value for name, value in self._measured().items()}
            record = {"step": step, **found}
            if self.standing.judge(record):
                self.objective.save(self._result, self.out, record)
        if self.ranks > 1:
            told = [found, self.standing.kept()]
            torch.distributed.broadcast_object_list(told)
            found = told[0]
            self.standing.restore(told[1])
        return found

    def _measured(self) -> Mapping[str, float]:
        assert self.validate is not None
        network = self._result
        training = network.training
        try:
            return self.validate(network.eval())
        finally:
            network.train(training)

    @property
    def _result(self) -> nn.Module:
        """What is measured and saved: the moving average where there is one."""
        return self.objective.network if self.average is None else self.average.network

    def _finish(self) -> dict[str, Any]:
        """Save the last network, or the only one."""
        if self._leads:
            folder = self.out / LAST if self.validate is not None else self.out
            self.objective.save(self._result.eval(), folder, self.standing.last)
            # Nothing is left to do from here, also after an early stop. The caller removes it when the run is recorded
            # as done: until then a kill costs no step.
            self.state.save(self.how.steps)
        self.accelerator.wait_for_everyone()
        return {**self.standing.last, **{f"best_{k}": v for k, v in self.standing.best.items()}}


class _Clock:
    """Counts how many steps a second were done since it was last asked."""

    def __init__(self) -> None:
        self._time = time.perf_counter()
        self._steps = 0

    def rate(self, steps: int) -> float:
        """Steps a second, given how many were done in all."""
        now = time.perf_counter()
        rate = (steps - self._steps) / max(now - self._time, 1e-9)
        self._time, self._steps = now, steps
        return rate

    def skip(self) -> None:
        """Leave out the time since it was last asked."""
        self._time = time.perf_counter()
