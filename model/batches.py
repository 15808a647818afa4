"""Which examples a batch holds: so many of each source, in an order that a training can go on with anywhere."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from autolabel.errors import ConfigError


class MixedBatches(Sampler[list[int]]):
    """Batches with a fixed number of each source, the same for the same seed.

    Every source is walked in random permutations of its own, so that a small source is seen evenly however
    large the others are. Batch ``n`` depends on the seed and ``n`` alone: training resumes anywhere.

    Args:
        sizes: Number of items of each source; places run through the sources in order.
        shares: Relative number of items of each source in a batch.
        batch_size: Items a batch.
        start: The first batch.
        stop: One past the last batch.
        seed: Of the permutations, from 0.

    Raises:
        ConfigError: A share is so small that its source would never be seen.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        shares: Sequence[float],
        *,
        batch_size: int,
        start: int,
        stop: int,
        seed: int,
    ) -> None:
        self.sizes = list(sizes)
        self.counts = _apportion(shares, batch_size)
        for share, count in zip(shares, self.counts, strict=True):
            if share > 0 and count == 0:
                raise ConfigError(
                    f"a share of {share:g} is less than one item in a batch of {batch_size}",
                    subject="share",
                    remedy="Raise the share or the batch size, or leave the source out.",
                )
        self.start, self.stop, self.seed = start, stop, seed
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        firsts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        for n in range(self.start, self.stop):
            yield [
                first + self._item(source, n * count + j)
                for source, (first, count) in enumerate(zip(firsts, self.counts, strict=True))
                for j in range(count)
            ]

    def _item(self, source: int, position: int) -> int:
        """What stands at a position of the endless walk through a source."""
        turn, place = divmod(position, self.sizes[source])
        if source not in self._orders or self._orders[source][0] != turn:
            order = np.random.default_rng([self.seed, source, turn]).permutation(self.sizes[source])
            self._orders[source] = (turn, order)
        return int(self._orders[source][1][place])


def _apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, nearest to the shares (largest remainder, the earlier among equals)."""
    exact = np.asarray(shares, dtype=np.float64) / np.sum(shares) * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()
