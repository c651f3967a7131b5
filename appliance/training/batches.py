"""Batches of rows with their common beginning, in an order that only the seed and the epoch decide."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from appliance.training.encoding import Encoded

# Each new shape of a matrix product costs a compilation inside torch, so there are only so many shapes.
TOKENS_STEP = 4  # widths are rounded up to it, shared beginnings down
TARGETS_STEP = 32  # so are the targets of a batch, up
KEPT_STEP = 16  # and the tokens that are computed
# On a GPU a new shape costs a recording (graphs.py), and padding next to nothing: widths are rounded so, and targets to
# a power of two.
COARSE_TOKENS, COARSE_TARGETS = 64, 256
COARSE_SCORES = 1 << 23  # scores a head, of memory that a card has
NO_TARGET = -1
SHARED_LEAST = 8  # tokens; a shorter common beginning isn't worth a block of its own
SCORES = (
    1 << 20
)  # scores a head of a layer that dense attention may hold, which is what a shared prefix needs


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right to the longest, behind the tokens that all of them begin with.

    Causal attention never looks right, so padding needs no mask; what all rows begin with is the same for all of them
    in every layer, so it is held once. Only attention needs rows of one width: all else may go over `kept` alone.

    Attributes:
        prefix: the shared first tokens, shape [prefix]; empty where nothing is shared.
        ids: the rows' other tokens, shape [rows, width].
        positions: where in the flat [prefix + rows * width] tokens a next token is learnt, shape [targets]; at the end
            some may stand again.
        targets: those next tokens' ids, shape [targets]; NO_TARGET for positions that stand again.
        kept: which of the flat tokens are no padding, ascending, shape [kept]; some padding fills up to a round number.
        places: `positions` among `kept`.
        learnt: how many targets there are without those.
        tokens: tokens of the rows themselves, the prefix counted in each, padding not.
    """

    prefix: torch.Tensor
    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    kept: torch.Tensor
    places: torch.Tensor
    learnt: int
    tokens: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        names = ("prefix", "ids", "positions", "targets", "kept", "places")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def flat(self) -> torch.Tensor:
        """All token ids, shape [prefix + rows * width]."""
        return torch.cat([self.prefix, self.ids.flatten()])

    @property
    def padded(self) -> int:
        """How many flat tokens there are, padding among them."""
        return len(self.prefix) + self.ids.numel()


def dense(rows: int, width: int, prefix: int, limit: int | None = None) -> bool:
    """Whether the attention scores of such a batch are few enough to be held."""
    return rows * width * (width + prefix) + prefix * prefix <= (limit or SCORES)


def _shared(rows: Sequence[Encoded], step: int) -> int:
    """How many tokens all rows begin with, before the last one that is needed to predict a learnt token.

    Rounded down to a multiple of `step`.
    """
    if len(rows) < 2:
        return 0
    limit = min(row.learnt.index(True, 1) - 1 for row in rows)
    lowest, highest = min(row.ids for row in rows), max(row.ids for row in rows)
    length = 0
    while length < limit and lowest[length] == highest[length]:
        length += 1
    return length - length % step


def collate(rows: Sequence[Encoded], filler: int = 0, share: bool = True, coarse: bool = False) -> Batch:
    """Put `rows` into one batch.

    Args:
        rows: at least one; each learns a token other than its first.
        filler: any valid id for padding, since no real token attends to it.
        share: hold a common beginning once.
        coarse: few shapes rather than little padding.
    """
    tokens_step = COARSE_TOKENS if coarse else TOKENS_STEP
    longest = max(len(row.ids) for row in rows)
    length = _shared(rows, tokens_step) if share else 0
    limit = COARSE_SCORES if coarse else None
    if length < SHARED_LEAST or not dense(len(rows), longest - length, length, limit):
        length = 0
    width = -(-(longest - length) // tokens_step) * tokens_step
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for index, row in enumerate(rows):
        ids[index, : len(row.ids) - length] = torch.tensor(row.ids[length:], dtype=torch.long)
        for place in range(1, len(row.ids)):
            if row.learnt[place]:
                # place - 1 is never in the prefix; from there, the rows lie one after another.
                positions.append(index * width + place - 1)
                targets.append(row.ids[place])
    spare = -len(targets) % TARGETS_STEP
    if coarse:
        spare = max(COARSE_TARGETS, 1 << (len(targets) - 1).bit_length()) - len(targets)
    learnt_at = torch.tensor(positions + positions[-1:] * spare)
    lengths = [len(row.ids) - length for row in rows]
    kept = torch.arange(length + len(rows) * width) if coarse else _kept(lengths, length, width)
    return Batch(
        torch.tensor(rows[0].ids[:length], dtype=torch.long),
        ids,
        learnt_at,
        torch.tensor(targets + [NO_TARGET] * spare),
        kept,
        torch.searchsorted(kept, learnt_at),
        len(targets),
        sum(len(row.ids) for row in rows),
    )


def _kept(lengths: Sequence[int], prefix: int, width: int) -> torch.Tensor:
    """Which flat tokens are no padding, and so much of the padding that their number is round."""
    real = torch.zeros(prefix + len(lengths) * width, dtype=torch.bool)
    real[:prefix] = True
    for index, length in enumerate(lengths):
        real[prefix + index * width :][:length] = True
    padding = (~real).nonzero().flatten()
    real[padding[: -int(real.sum()) % KEPT_STEP]] = True
    return real.nonzero().flatten()


def epoch_order(count: int, batch_rows: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers of each batch of one epoch.

    Shuffled, and cut as they come: batches of rows of like length would save padding, but padding costs little here
    (`Batch.kept`), and what is learnt from them is a quarter worse after a few steps (docs/decisions/0005).

    Args:
        count: how many rows there are.
        batch_rows: rows a batch.
        seed, epoch: what the order depends on, and all that it depends on.
    """
    chance = random.Random(f"{seed}:{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(count))
    chance.shuffle(order)
    return [order[start : start + batch_rows] for start in range(0, count, batch_rows)]


def step_rows(count: int, batch_rows: int, seed: int, first: int, last: int) -> Iterator[list[int]]:
    """Row numbers of the steps `first`..`last` (1-based, both included), whatever epoch they fall into."""
    epoch = -1
    order: list[list[int]] = []
    per_epoch = -(-count // batch_rows)
    for step in range(first, last + 1):
        wanted, place = divmod(step - 1, per_epoch)
        if wanted != epoch:
            epoch, order = wanted, epoch_order(count, batch_rows, seed, wanted)
        yield order[place]
