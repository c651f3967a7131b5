"""A Llama decoder with LoRA, forward and backward written out: to train on a CPU near the speed of its multiplier.

The mathematics is that of transformers' LlamaForCausalLM under peft's LoRA (tests/training/test_decoder.py compares
loss and every gradient). The speed comes from what is left out and what is joined: no gradient for frozen weights, the
query, key and value products (and gate with up) as one each, the tokens that all rows of a batch begin with computed
once, the last layer beyond its attention only where a token is learnt, elementwise work in one pass (kernels.py), and
memory that stays (arena.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from appliance.training.arena import Arena
from appliance.training.attention import Attended, Attention
from appliance.training.batches import Batch
from appliance.training.kernels import Plain

Look = Callable[[str, torch.Tensor], None]
"""Is shown what a layer's groups are given: the group's name in `Layer`, and its input [tokens, in]."""

CHUNK = 512  # targets whose logits exist at one time: 512 x 49,152 bfloat16 = 48 MiB


@dataclass
class Group:
    """Linear layers with a common input, as one product.

    Attributes:
        weight: the frozen weights, stacked, shape [out, in]; on the grid (int4.py) with the rounding's error added.
        down: the layers' LoRA A, stacked, shape [layers * rank, in]; a view of the working parameters.
        up: their LoRA B times the scale, on the diagonal blocks, shape [out, layers * rank].
        grad_down: gradient of `down`.
        grad_up: gradient of `up`, transposed; only its diagonal blocks mean anything.
    """

    weight: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor
    grad_down: torch.Tensor = field(init=False)
    grad_up: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.grad_down, self.grad_up = torch.zeros_like(self.down), torch.zeros_like(self.up.t().contiguous())

    def forward(self, x: torch.Tensor, y: torch.Tensor, low: torch.Tensor) -> None:
        """x [n, in] -> y [n, out], low = x . downᵀ [n, layers * rank]."""
        torch.mm(x, self.down.t(), out=low)
        torch.mm(x, self.weight.t(), out=y)
        y.addmm_(low, self.up.t())

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        low: torch.Tensor,
        grad_x: torch.Tensor | None,
        arena: Arena,
    ) -> None:
        """Take the LoRA gradients and, where it is wanted, the gradient of x."""
        grad_low = arena.take(*low.shape, dtype=low.dtype)
        torch.mm(grad, self.up, out=grad_low)
        torch.mm(grad_low.t(), x, out=self.grad_down)
        torch.mm(low.t(), grad, out=self.grad_up)
        if grad_x is not None:
            torch.mm(grad, self.weight, out=grad_x)
            grad_x.addmm_(grad_low, self.down)


@dataclass
class Layer:
    """One decoder layer: four groups and two norms' weights [width]."""

    attention_norm: torch.Tensor
    qkv: Group
    out: Group
    mlp_norm: torch.Tensor
    gate_up: Group
    down: Group


@dataclass
class _Saved:
    """What a layer's backward needs of its forward."""

    x: torch.Tensor
    inverse: torch.Tensor
    low_qkv: torch.Tensor
    attended: Attended
    mixed: torch.Tensor
    low_out: torch.Tensor
    middle: torch.Tensor
    middle_inverse: torch.Tensor
    low_gate_up: torch.Tensor
    gate_up: torch.Tensor
    low_down: torch.Tensor


class Decoder:
    """The stack. Tokens lie flat: the shared prefix first, then the rows one after another, shape [tokens, width].

    Padding is left out but for attention, which wants rows of one width.
    """

    def __init__(
        self,
        embeddings: torch.Tensor,
        layers: list[Layer],
        norm: torch.Tensor,
        projection: torch.Tensor,
        attention: Attention,
        eps: float,
        kernels: Plain,
    ) -> None:
        """Put the parts together.

        Args:
            embeddings: [vocabulary, width].
            layers: from the first to the last.
            norm: the last norm's weight [width].
            projection: to the logits, [vocabulary, width].
            attention: how heads are cut and turned.
            eps: the norms' epsilon.
            kernels: torch's or the compiled ones.
        """
        self.embeddings, self.layers, self.norm, self.projection = embeddings, layers, norm, projection
        self.attention, self.eps, self.kernels = attention, eps, kernels
        self._kept, self._scratch = (Arena(device=embeddings.device) for _ in range(2))

    def loss(self, batch: Batch, learn: bool) -> float:
        """Mean cross-entropy over the batch's targets, in nats.

        Args:
            batch: what to go over.
            learn: also take every group's gradients.
        """
        return float(self.total(batch, 1.0 / batch.learnt if learn else 0.0)) / batch.learnt

    def total(self, batch: Batch, scale: float) -> torch.Tensor:
        """The sum of the targets' cross-entropies in nats, float64 without shape.

        Args:
            batch: what to go over.
            scale: above 0, every group's gradients of that many times the sum are taken too.
        """
        learn = scale > 0
        x, saved = self._through(batch, learn)
        hidden, inverse = self._norm(x, self.norm, self._kept)
        grad_hidden = torch.empty_like(hidden) if learn else None
        total = self._cross_entropy(hidden, batch.targets, grad_hidden, scale)
        if grad_hidden is not None:
            grad = torch.zeros_like(x)
            self.kernels.rms_backward(grad_hidden, x, self.norm, inverse, grad)
            for number in reversed(range(len(self.layers))):
                only = batch.places if number == len(self.layers) - 1 else None
                grad = self._backward(self.layers[number], saved.pop(), grad, batch, only, number > 0)
                self._scratch.release((0, 0))
        return total

    def outlook(self, batch: Batch) -> torch.Tensor:
        """What the output projection gets where something is learnt, [targets, width]; good until the next call."""
        x, _ = self._through(batch, learn=False)
        return self._norm(x, self.norm, self._kept)[0]

    def pass_layer(self, layer: Layer, x: torch.Tensor, batch: Batch, look: Look) -> torch.Tensor:
        """The kept tokens' states [kept, width] through one layer; good until the next call."""
        self._kept.release((0, 0))
        self._scratch.release((0, 0))
        return self._forward(layer, x, batch, None, look)[0]

    def _through(self, batch: Batch, learn: bool) -> tuple[torch.Tensor, list[_Saved]]:
        """All layers: what comes out of the last where something is learnt, and what their backward needs."""
        self._kept.release((0, 0))
        self._scratch.release((0, 0))
        ids, last = batch.flat[batch.kept], len(self.layers) - 1
        x = torch.index_select(self.embeddings, 0, ids, out=self._keep(len(ids), self.embeddings.shape[1]))
        first, begin, saved = x, self._kept.mark(), []
        for number, layer in enumerate(self.layers):
            only = batch.places if number == last else None
            x, needed = self._forward(layer, x, batch, only)
            self._scratch.release((0, 0))
            if learn:
                saved.append(needed)
            elif only is None:
                first.copy_(x)
                x = first
                self._kept.release(begin)
        return x, saved

    def _keep(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self._kept.take(*shape, dtype=dtype or self.embeddings.dtype)

    def _take(self, *shape: int) -> torch.Tensor:
        return self._scratch.take(*shape, dtype=self.embeddings.dtype)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor, arena: Arena) -> tuple[torch.Tensor, torch.Tensor]:
        h, inverse = arena.take(*x.shape, dtype=x.dtype), self._keep(len(x), dtype=torch.float32)
        self.kernels.rms_forward(x, weight, self.eps, h, inverse)
        return h, inverse

    def _project(self, group: Group, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        low = self._keep(len(x), len(group.down))
        group.forward(x, y, low)
        return low

    def _forward(
        self,
        layer: Layer,
        x: torch.Tensor,
        batch: Batch,
        only: torch.Tensor | None,
        look: Look = lambda _name, _given: None,
    ) -> tuple[torch.Tensor, _Saved]:
        h, inverse = self._norm(x, layer.attention_norm, self._scratch)
        look("qkv", h)
        qkv = self._take(len(x), len(layer.qkv.weight))
        low_qkv = self._project(layer.qkv, h, qkv)
        mixed = self._keep(len(x), layer.out.weight.shape[1])
        wide = self._widened(qkv, batch)
        wide_mixed = mixed if wide is qkv else self._take(batch.padded, mixed.shape[1])
        attended = self.attention.forward(self.kernels, wide, batch, wide_mixed, self._kept, self._scratch)
        if wide is not qkv:
            torch.index_select(wide_mixed, 0, batch.kept, out=mixed)
        middle = x
        if only is not None:  # behind the last attention a token that isn't learnt matters to nobody
            mixed, middle = mixed[only], x[only]
        out = self._keep(*middle.shape)
        look("out", mixed)
        low_out = self._project(layer.out, mixed, out)
        middle = out.add_(middle)
        middle_h, middle_inverse = self._norm(middle, layer.mlp_norm, self._scratch)
        gate_up = self._keep(len(middle), len(layer.gate_up.weight))
        look("gate_up", middle_h)
        low_gate_up = self._project(layer.gate_up, middle_h, gate_up)
        act, y = self._take(len(middle), layer.down.weight.shape[1]), self._keep(*middle.shape)
        self.kernels.swiglu_forward(gate_up, act)
        look("down", act)
        low_down = self._project(layer.down, act, y)
        saved = _Saved(
            x, inverse, low_qkv, attended, mixed, low_out,
            middle, middle_inverse, low_gate_up, gate_up, low_down,
        )  # fmt: skip
        return y.add_(middle), saved

    def _backward(
        self,
        layer: Layer,
        saved: _Saved,
        grad: torch.Tensor,
        batch: Batch,
        only: torch.Tensor | None,
        wanted: bool,
    ) -> torch.Tensor:
        """From the gradient of the layer's output to that of its input, in the same memory where the sizes agree."""
        width = layer.down.weight.shape[1]
        act, grad_act = self._take(len(grad), width), self._take(len(grad), width)
        # What is cheap to compute again (this and both norms) isn't kept.
        self.kernels.swiglu_forward(saved.gate_up, act)
        layer.down.backward(grad, act, saved.low_down, grad_act, self._scratch)
        self.kernels.swiglu_backward(grad_act, saved.gate_up)
        h, grad_h = self._take(*grad.shape), self._take(*grad.shape)
        self.kernels.rms_forward(saved.middle, layer.mlp_norm, self.eps, h, saved.middle_inverse)
        layer.gate_up.backward(saved.gate_up, h, saved.low_gate_up, grad_h, self._scratch)
        self.kernels.rms_backward(grad_h, saved.middle, layer.mlp_norm, saved.middle_inverse, grad)
        grad_mixed = self._take(*saved.mixed.shape)
        layer.out.backward(grad, saved.mixed, saved.low_out, grad_mixed, self._scratch)
        if only is not None:
            tokens = len(saved.x)  # added, not copied: a position that stands again brings zeros
            grad_mixed = grad_mixed.new_zeros(tokens, grad_mixed.shape[1]).index_add_(0, only, grad_mixed)
            grad = torch.zeros_like(saved.x).index_add_(0, only, grad)
        grad_qkv = self._take(len(grad), len(layer.qkv.weight))
        wide = self._widened(grad_mixed, batch)
        wide_qkv = grad_qkv if wide is grad_mixed else self._take(batch.padded, grad_qkv.shape[1])
        self.attention.backward(self.kernels, wide, saved.attended, batch, wide_qkv, self._scratch)
        if wide is not grad_mixed:
            torch.index_select(wide_qkv, 0, batch.kept, out=grad_qkv)
        h, grad_x = self._take(*grad.shape), self._take(*grad.shape) if wanted else None
        self.kernels.rms_forward(saved.x, layer.attention_norm, self.eps, h, saved.inverse)
        layer.qkv.backward(grad_qkv, h, saved.low_qkv, grad_x, self._scratch)
        if grad_x is not None:
            self.kernels.rms_backward(grad_x, saved.x, layer.attention_norm, saved.inverse, grad)
        return grad

    def _widened(self, packed: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The kept tokens' values where attention wants them, zeros at padding; `packed` itself without padding."""
        if len(packed) == batch.padded:
            return packed
        return self._take(batch.padded, packed.shape[1]).zero_().index_copy_(0, batch.kept, packed)

    def _cross_entropy(
        self, hidden: torch.Tensor, targets: torch.Tensor, grad: torch.Tensor | None, scale: float
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        logits = self._take(min(CHUNK, len(targets)), len(self.projection))
        for start in range(0, len(targets), CHUNK):
            part = slice(start, min(start + CHUNK, len(targets)))
            some = logits[: part.stop - start]
            torch.mm(hidden[part], self.projection.t(), out=some)
            total += self.kernels.cross_entropy(some, targets[part], scale).sum(dtype=torch.float64)
            if grad is not None:
                torch.mm(some, self.projection, out=grad[part])
        return total
