"""Causal attention of a batch whose rows may share a prefix, by plain matrix products; forward and backward.

The prefix's keys and values are computed once. Rows look at them by one product for all rows, and at their own tokens
by one product a row; a joint softmax makes that exact. Rows too long for a score matrix take torch's tiled kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from appliance.training.arena import Arena
from appliance.training.batches import Batch, dense
from appliance.training.kernels import Plain


@dataclass
class _Part:
    """One block of rows. q [groups, rows, each, width, dim]; k, v, without `each`; what softmax made of the scores.

    `shared` [groups, rows * each * width, prefix] and `own` [groups * rows, each * width, width] are the dense weights;
    `tiled` is what the tiled kernel needs instead.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    shared: torch.Tensor
    own: torch.Tensor
    tiled: tuple[torch.Tensor, torch.Tensor] | None

    def by_group(self, tensor: torch.Tensor) -> torch.Tensor:
        """For products with the prefix: all rows of a group together."""
        return tensor.view(len(tensor), -1, tensor.shape[-1])

    def by_row(self, tensor: torch.Tensor) -> torch.Tensor:
        """For products within a row."""
        return tensor.view(tensor.shape[0] * tensor.shape[1], -1, tensor.shape[-1])


@dataclass
class Attended:
    """What the backward needs: the prefix's part, if there is one, and the rows'."""

    prefix: _Part | None
    rows: _Part


@dataclass
class Attention:
    """How heads are cut and turned.

    Attributes:
        groups: key heads.
        each: query heads to every key head.
        angles: cosine and sine of each position, [positions, dim / 2] float32.
    """

    groups: int
    each: int
    angles: tuple[torch.Tensor, torch.Tensor]

    def forward(
        self,
        kernels: Plain,
        qkv: torch.Tensor,
        batch: Batch,
        mixed: torch.Tensor,
        kept: Arena,
        scratch: Arena,
    ) -> Attended:
        """qkv [tokens, (heads + 2 groups) * dim] -> mixed values [tokens, heads * dim].

        What the backward needs is taken from `kept`, the rest from `scratch`.
        """
        length, rows = len(batch.prefix), len(batch.ids)
        prefix = None
        if length:
            prefix = self._forward(kernels, qkv[:length], 1, None, mixed[:length], kept, scratch)
        part = self._forward(kernels, qkv[length:], rows, prefix, mixed[length:], kept, scratch)
        return Attended(prefix, part)

    def _forward(
        self,
        kernels: Plain,
        qkv: torch.Tensor,
        rows: int,
        prefix: _Part | None,
        mixed: torch.Tensor,
        kept: Arena,
        scratch: Arena,
    ) -> _Part:
        groups, each, width, dim = self.groups, self.each, len(qkv) // rows, 2 * self.angles[0].shape[1]
        first = 0 if prefix is None else prefix.k.shape[2]
        q = kept.take(groups, rows, each, width, dim, dtype=qkv.dtype)
        k, v = (kept.take(groups, rows, width, dim, dtype=qkv.dtype) for _ in range(2))
        kernels.split_heads(qkv, self.angles, first, q, k, v)
        if prefix is None and not dense(rows, width, 0):
            tiled = kernels.tiled_forward(*_expanded(q, k, v))
            out = tiled[0].view(rows, groups, each, width, dim)
            mixed.view(rows, width, groups, each, dim).copy_(out.permute(0, 3, 1, 2, 4))
            return _Part(q, k, v, q[:0], q[:0], tiled)
        shared = kept.take(groups, rows * each * width, first, dtype=qkv.dtype)
        own = kept.take(groups * rows, each * width, width, dtype=qkv.dtype)
        part = _Part(q, k, v, shared, own, None)
        torch.bmm(part.by_row(q), part.by_row(k).transpose(1, 2), out=own)
        if prefix is not None:
            torch.bmm(part.by_group(q), part.by_group(prefix.k).transpose(1, 2), out=shared)
        kernels.softmax_forward(shared.view(*q.shape[:4], first), own.view(*q.shape[:4], width), dim**-0.5)
        out = scratch.take(groups * rows, each * width, dim, dtype=qkv.dtype)
        torch.bmm(own, part.by_row(v), out=out)
        if prefix is not None:
            out.view(groups, -1, dim).baddbmm_(shared, part.by_group(prefix.v))
        by_token = out.view(groups, rows, each, width, dim).permute(1, 3, 0, 2, 4)
        mixed.view(rows, width, groups, each, dim).copy_(by_token)
        return part

    def backward(
        self,
        kernels: Plain,
        grad: torch.Tensor,
        attended: Attended,
        batch: Batch,
        grad_qkv: torch.Tensor,
        scratch: Arena,
    ) -> None:
        """From the gradient of the mixed values to that of qkv; `attended` can't be used again."""
        length, prefix, part = len(batch.prefix), attended.prefix, attended.rows
        values = _by_head(grad[length:], part.q, scratch)
        dq, dk, dv, shared = self._backward(kernels, values, part, prefix, scratch)
        kernels.join_heads(dq, dk, dv, self.angles, length, grad_qkv[length:])
        if prefix is None:
            return
        before = _by_head(grad[:length], prefix.q, scratch)
        dq, dk, dv, _ = self._backward(kernels, before, prefix, None, scratch)
        # The rows look at the prefix's keys and values too: one product sums over all of them.
        part.by_group(dk).baddbmm_(shared.transpose(1, 2), part.by_group(part.q))
        part.by_group(dv).baddbmm_(part.shared.transpose(1, 2), part.by_group(values))
        kernels.join_heads(dq, dk, dv, self.angles, 0, grad_qkv[:length])

    def _backward(
        self, kernels: Plain, values: torch.Tensor, part: _Part, prefix: _Part | None, scratch: Arena
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        if part.tiled is not None:
            return *_tiled_backward(kernels, values, part), part.shared
        shape, dim = part.q.shape[:4], part.q.shape[-1]
        dq, dk, dv, own, shared = (
            scratch.take(*tensor.shape, dtype=tensor.dtype)
            for tensor in (part.q, part.k, part.v, part.own, part.shared)
        )
        torch.bmm(part.own.transpose(1, 2), part.by_row(values), out=part.by_row(dv))
        torch.bmm(part.by_row(values), part.by_row(part.v).transpose(1, 2), out=own)
        if prefix is not None:
            torch.bmm(part.by_group(values), part.by_group(prefix.v).transpose(1, 2), out=shared)
        kernels.softmax_backward(
            part.shared.view(*shape, shared.shape[-1]),
            part.own.view(*shape, -1),
            shared.view(*shape, shared.shape[-1]),
            own.view(*shape, -1),
            dim**-0.5,
        )
        torch.bmm(own, part.by_row(part.k), out=part.by_row(dq))
        torch.bmm(own.transpose(1, 2), part.by_row(part.q), out=part.by_row(dk))
        if prefix is not None:
            part.by_group(dq).baddbmm_(shared, part.by_group(prefix.k))
        return dq, dk, dv, shared


def _by_head(grad: torch.Tensor, q: torch.Tensor, scratch: Arena) -> torch.Tensor:
    """Tokens in order to the layout of `q`."""
    groups, rows, each, width, dim = q.shape
    by_token = grad.view(rows, width, groups, each, dim)
    return scratch.take(*q.shape, dtype=q.dtype).copy_(by_token.permute(2, 0, 3, 1, 4))


def _expanded(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """To [rows, heads, width, dim]: the tiled kernel knows no groups."""
    groups, rows, each, width, dim = q.shape
    wide = (tensor[:, :, None].expand(q.shape) for tensor in (k, v))
    return tuple(tensor.transpose(0, 1).reshape(rows, groups * each, width, dim) for tensor in (q, *wide))


def _tiled_backward(
    kernels: Plain, values: torch.Tensor, part: _Part
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    groups, rows, each, width, dim = part.q.shape
    assert part.tiled is not None
    grad = values.transpose(0, 1).reshape(rows, groups * each, width, dim)
    found = kernels.tiled_backward(grad, _expanded(part.q, part.k, part.v), part.tiled)
    dq, dk, dv = (tensor.view(rows, groups, each, width, dim).transpose(0, 1) for tensor in found)
    return dq.contiguous(), dk.sum(2), dv.sum(2)
