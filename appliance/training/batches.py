"""Batches of rows of like length, in an order that only the seed and the epoch decide."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from appliance.training.encoding import Encoded


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right to the longest.

    Attributes:
        ids: token ids, shape [rows, tokens]; causal attention never looks right, so padding needs no mask.
        positions: where in the flattened [rows * tokens] a next token is learnt, shape [targets].
        targets: those next tokens' ids, shape [targets].
        tokens: tokens of the rows themselves, padding apart.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    tokens: int


def collate(rows: Sequence[Encoded], filler: int = 0) -> Batch:
    """Pad `rows` into one batch; `filler` is any valid id, since no real token attends to it."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
        for place in range(1, len(row.ids)):
            if row.learnt[place]:
                positions.append(index * width + place - 1)
                targets.append(row.ids[place])
    return Batch(ids, torch.tensor(positions), torch.tensor(targets), sum(len(row.ids) for row in rows))


def epoch_order(lengths: Sequence[int], batch_rows: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers of each batch of one epoch.

    Rows are shuffled, sorted by length inside pools of 16 batches, cut into batches, and the batches shuffled: little
    padding, and still another neighbourhood in each epoch.

    Args:
        lengths: tokens of each row.
        batch_rows: rows a batch.
        seed, epoch: what the order depends on, and all that it depends on.
    """
    chance = random.Random(f"{seed}:{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    chance.shuffle(order)
    pool = batch_rows * 16
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches.extend(part[at : at + batch_rows] for at in range(0, len(part), batch_rows))
    chance.shuffle(batches)
    return batches


def step_rows(
    lengths: Sequence[int], batch_rows: int, seed: int, first: int, last: int
) -> Iterator[list[int]]:
    """Row numbers of the steps `first`..`last` (1-based, both included), whatever epoch they fall into."""
    epoch = -1
    order: list[list[int]] = []
    per_epoch = -(-len(lengths) // batch_rows)
    for step in range(first, last + 1):
        wanted, place = divmod(step - 1, per_epoch)
        if wanted != epoch:
            epoch, order = wanted, epoch_order(lengths, batch_rows, seed, wanted)
        yield order[place]
