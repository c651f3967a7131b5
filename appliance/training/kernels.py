"""The elementwise parts of a training step: in torch, and the same compiled from native/kernels.cpp.

`load` compiles that file with the machine's C++ compiler (two seconds, kept in the cache folder) and falls back to
torch, without a word but slower, where there is none. Shapes are those of `Plain`, whose code is the definition.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import torch

from appliance import compiled
from appliance.training.batches import NO_TARGET

SOURCE = Path(__file__).parent / "native" / "kernels.cpp"


class Plain:
    """The definition, in torch."""

    name = "torch"

    def rms_forward(
        self, x: torch.Tensor, w: torch.Tensor, eps: float, h: torch.Tensor, inverse: torch.Tensor
    ) -> None:
        """x [n, d], w [d] -> h = w * x / rms(x) [n, d], inverse = 1 / rms(x) [n] in float32."""
        wide = x.float()
        inverse.copy_(torch.rsqrt(wide.square().mean(-1) + eps))
        torch.mul(w, (wide * inverse[:, None]).to(x.dtype), out=h)

    def rms_backward(
        self, dh: torch.Tensor, x: torch.Tensor, w: torch.Tensor, inverse: torch.Tensor, dx: torch.Tensor
    ) -> None:
        """Add the gradient of the norm's input to `dx` [n, d]."""
        gradient, wide = dh.float() * w.float(), x.float()
        pull = (gradient * wide).sum(-1) * inverse**3 / x.shape[-1]
        dx.copy_(dx.float() + gradient * inverse[:, None] - wide * pull[:, None])

    def split_heads(
        self,
        qkv: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        first: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
    ) -> None:
        """Cut qkv [rows * width, (groups * each + 2 groups) * dim] into heads and turn them by their positions.

        Args:
            qkv: all heads of all tokens.
            angles: cosine and sine of each position, [positions, dim / 2] in float32.
            first: the position of a row's first token.
            q, k, v: filled; [groups, rows, each, width, dim], and without `each`.
        """
        groups, rows, each, width, dim = q.shape
        heads = qkv.view(rows, width, groups * (each + 2), dim)
        cosine, sine = (part[first : first + width, None, :] for part in angles)
        turned = _turn(heads[:, :, : groups * (each + 1)], cosine, sine)
        q.copy_(turned[:, :, : groups * each].view(rows, width, groups, each, dim).permute(2, 0, 3, 1, 4))
        k.copy_(turned[:, :, groups * each :].permute(2, 0, 1, 3))
        v.copy_(heads[:, :, groups * (each + 1) :].permute(2, 0, 1, 3))

    def join_heads(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        first: int,
        qkv: torch.Tensor,
    ) -> None:
        """Write the gradient of qkv, from those of what `split_heads` made of it."""
        groups, rows, each, width, dim = q.shape
        cosine, sine = (part[first : first + width, None, :] for part in angles)
        turned = torch.cat(
            [q.permute(1, 3, 0, 2, 4).reshape(rows, width, groups * each, dim), k.permute(1, 2, 0, 3)], dim=2
        )
        parts = [_turn(turned, cosine, -sine), v.permute(1, 2, 0, 3)]
        qkv.copy_(torch.cat(parts, dim=2).view(rows * width, -1))

    def softmax_forward(self, shared: torch.Tensor, own: torch.Tensor, scale: float) -> None:
        """Scores to weights, in place: shared [..., width, prefix], own [..., width, width] (causal), one softmax."""
        prefix, width = shared.shape[-1], own.shape[-1]
        future = torch.ones(width, width, dtype=torch.bool, device=own.device).triu_(1)
        scores = torch.cat([shared, own.masked_fill(future, float("-inf"))], dim=-1).float() * scale
        weights = torch.softmax(scores, dim=-1)
        shared.copy_(weights[..., :prefix])
        own.copy_(weights[..., prefix:])

    def softmax_backward(
        self, shared: torch.Tensor, own: torch.Tensor, dshared: torch.Tensor, down: torch.Tensor, scale: float
    ) -> None:
        """Gradients of the weights to gradients of the scores, in place in `dshared` and `down`."""
        total = (shared.float() * dshared).sum(-1, keepdim=True) + (own.float() * down).sum(-1, keepdim=True)
        dshared.copy_(scale * shared * (dshared.float() - total))
        down.copy_(scale * own * (down.float() - total))

    def tiled_forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Causal attention that never holds the scores; q, k, v [rows, heads, width, dim].

        Returns:
            What comes out, of the same shape, and what else `tiled_backward` needs.
        """
        out = _scaled(q, k, v)
        return out, out

    def tiled_backward(
        self,
        grad: torch.Tensor,
        given: Sequence[torch.Tensor],
        kept: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        """The gradients of q, k and v, which are `given`; `kept` is what `tiled_forward` returned.

        Here that is of no use: torch chooses its kernel by type and card, so it goes both ways itself.
        """
        del kept
        return tuple(torch.func.vjp(_scaled, *given)[1](grad))

    def swiglu_forward(self, gate_up: torch.Tensor, act: torch.Tensor) -> None:
        """gate_up [n, 2 f] -> act = silu(gate) * up [n, f]."""
        gate, up = gate_up.float().chunk(2, dim=-1)
        act.copy_(torch.nn.functional.silu(gate) * up)

    def swiglu_backward(self, dact: torch.Tensor, gate_up: torch.Tensor) -> None:
        """`gate_up` [n, 2 f] becomes its own gradient."""
        gate, up = gate_up.float().chunk(2, dim=-1)
        sigmoid, wide = torch.sigmoid(gate), dact.float()
        dgate = wide * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))
        gate_up.copy_(torch.cat([dgate, wide * gate * sigmoid], dim=-1))

    def cross_entropy(self, logits: torch.Tensor, targets: torch.Tensor, scale: float) -> torch.Tensor:
        """Losses [n] in float32 of logits [n, vocabulary]; with scale > 0 these become scale times their gradient.

        Where there is NO_TARGET, both are zero.
        """
        wide = logits.float()
        losses = torch.nn.functional.cross_entropy(wide, targets, reduction="none", ignore_index=NO_TARGET)
        if scale > 0:
            gradient = torch.softmax(wide, dim=-1)
            gradient.scatter_add_(
                1, targets.clamp(min=0)[:, None], gradient.new_full((len(targets), 1), -1.0)
            )
            gradient[targets == NO_TARGET] = 0.0
            logits.copy_(gradient.mul_(scale))
        return losses


def _scaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _turn(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = heads.float().chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1).to(heads.dtype)


class Native(Plain):
    """The same, compiled."""

    name = "compiled"

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def _call(self, name: str, tensors: Sequence[torch.Tensor], *numbers: int | float) -> None:
        suffix = {torch.bfloat16: "bf16", torch.float32: "f32"}[tensors[0].dtype]
        for tensor in tensors:
            assert tensor.is_contiguous(), name
        function = getattr(self._library, f"{name}_{suffix}")
        function(
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors),
            *(ctypes.c_float(n) if isinstance(n, float) else ctypes.c_long(n) for n in numbers),
        )

    def rms_forward(
        self, x: torch.Tensor, w: torch.Tensor, eps: float, h: torch.Tensor, inverse: torch.Tensor
    ) -> None:
        """`Plain.rms_forward`, compiled."""
        self._call("rms_forward", (x, w, h, inverse), *x.shape, float(eps))

    def rms_backward(
        self, dh: torch.Tensor, x: torch.Tensor, w: torch.Tensor, inverse: torch.Tensor, dx: torch.Tensor
    ) -> None:
        """`Plain.rms_backward`, compiled."""
        self._call("rms_backward", (dh, x, w, inverse, dx), *x.shape)

    def split_heads(
        self,
        qkv: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        first: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
    ) -> None:
        """`Plain.split_heads`, compiled."""
        groups, rows, each, width, dim = q.shape
        self._call("split_heads", (qkv, q, k, v, *angles), rows, width, groups, each, dim, first)

    def join_heads(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        first: int,
        qkv: torch.Tensor,
    ) -> None:
        """`Plain.join_heads`, compiled."""
        groups, rows, each, width, dim = q.shape
        self._call("join_heads", (q, k, v, qkv, *angles), rows, width, groups, each, dim, first)

    def softmax_forward(self, shared: torch.Tensor, own: torch.Tensor, scale: float) -> None:
        """`Plain.softmax_forward`, compiled."""
        n, prefix, width = own.numel() // own.shape[-1], shared.shape[-1], own.shape[-1]
        self._call("softmax_forward", (shared, own), n, prefix, width, float(scale))

    def softmax_backward(
        self, shared: torch.Tensor, own: torch.Tensor, dshared: torch.Tensor, down: torch.Tensor, scale: float
    ) -> None:
        """`Plain.softmax_backward`, compiled."""
        n, prefix, width = own.numel() // own.shape[-1], shared.shape[-1], own.shape[-1]
        self._call("softmax_backward", (shared, own, dshared, down), n, prefix, width, float(scale))

    def tiled_forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`Plain.tiled_forward` by torch's kernel for CPUs."""
        out, normalizer = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
        return out, normalizer

    def tiled_backward(
        self,
        grad: torch.Tensor,
        given: Sequence[torch.Tensor],
        kept: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        """`Plain.tiled_backward` by torch's kernel for CPUs, from what it kept."""
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return tuple(backward(grad, *given, *kept, 0.0, True))

    def swiglu_forward(self, gate_up: torch.Tensor, act: torch.Tensor) -> None:
        """`Plain.swiglu_forward`, compiled."""
        self._call("swiglu_forward", (gate_up, act), *act.shape)

    def swiglu_backward(self, dact: torch.Tensor, gate_up: torch.Tensor) -> None:
        """`Plain.swiglu_backward`, compiled."""
        self._call("swiglu_backward", (dact, gate_up), *dact.shape)

    def cross_entropy(self, logits: torch.Tensor, targets: torch.Tensor, scale: float) -> torch.Tensor:
        """`Plain.cross_entropy`, compiled."""
        losses = torch.empty(len(targets), dtype=torch.float32)
        self._call("cross_entropy", (logits, targets, losses), *logits.shape, float(scale))
        return losses


def load(cache: Path) -> Plain:
    """The compiled kernels, from `cache` or made now; torch's where no compiler works (compiled.py)."""
    return compiled.load(SOURCE, cache, Native) or Plain()
