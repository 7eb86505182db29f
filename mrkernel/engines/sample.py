"""``--sample N``: the first N records of every k-th split, in this process, with no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrkernel.data.splits import Split

#: Splits that are looked at, at most, spread evenly over the input.
SPLITS = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample is of.

    Attributes:
        records: read of each split, at most.
        splits: how many are looked at.
        of: how many the input has.
        nbytes: bytes of the whole input.
    """

    records: int
    splits: int
    of: int
    nbytes: int

    def describe(self, read: int | None = None) -> str:
        """Say which part of the input it is.

        Args:
            read: bytes that were read; None: not known yet.
        """
        which = f"{self.splits} of {self.of} splits" if self.splits < self.of else "every split"
        first = "record" if self.records == 1 else f"{self.records:,} records"
        said = f"the first {first} of {which}"
        if read is None or not self.nbytes:
            return said
        share = min(1.0, read / self.nbytes)
        if share == 1.0:
            return f"{said}, which is all of the input"
        return f"{said}, {100 * share:.2g}% of the input"


def take_sample(splits: Sequence[Split], records: int) -> tuple[list[Split], Sample]:
    """Choose the splits of a sample: every k-th, so that there are up to ``SPLITS``."""
    picked = list(splits[:: max(1, -(-len(splits) // SPLITS))])
    return picked, Sample(records, len(picked), len(splits), sum(s.nbytes for s in splits))
