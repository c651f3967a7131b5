"""Cross-entropy at the learnt positions only, in chunks: the logits of other tokens are never computed."""

from __future__ import annotations

from typing import Any

import torch

CHUNK = 256  # positions whose logits exist at one time: 256 x 49,152 float32 = 48 MiB


class TargetLoss(torch.autograd.Function):
    """Mean cross-entropy of `hidden` [targets, width] · `projection`ᵀ against `targets` [targets].

    The gradient is taken while the logits are at hand, so they are computed once and kept never.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, projection: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            logits = (hidden[part] @ projection.t()).float()
            wanted = targets[part, None]
            aimed = logits.gather(1, wanted)
            if gradient is None:
                total += (torch.logsumexp(logits, dim=-1, keepdim=True) - aimed).sum(dtype=torch.float64)
                continue
            # One pass over the logits gives both: -log p = log-sum-exp - logit, and p is in the softmax.
            share = torch.softmax(logits, dim=-1)
            highest = share.max(dim=-1, keepdim=True)
            normalizer = logits.gather(1, highest.indices) - highest.values.log()
            total += (normalizer - aimed).sum(dtype=torch.float64)
            share.scatter_add_(1, wanted, torch.full_like(aimed, -1.0))
            gradient[part] = share.to(hidden.dtype) @ projection
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(targets)))
        return (total / len(targets)).float()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (saved,) = ctx.saved_tensors
        return saved * gradients[0].to(saved.dtype), None, None
