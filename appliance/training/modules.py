"""The base model with LoRA on all linear layers as transformers and peft have it: every architecture, and dropout.

peft makes and names the adapter for the quick way too (llama.py). Two neighbours are replaced for speed: the LoRA
product (one fused step forward and one backward, no gradient for frozen weights) and attention over short rows (plain
matrix products, which on a CPU beat the tiled kernel there). Shown equal in tests/training.
"""

from __future__ import annotations

import difflib
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import logging as transformers_logging

from appliance.config import TrainingSection
from appliance.errors import ModelError, TrainingError
from appliance.training.batches import Batch
from appliance.training.int4 import EMBEDDINGS, PROJECTION, Grid, Merged
from appliance.training.objective import TargetLoss
from appliance.training.sharding import gathered, hollow, rows_held, spread
from appliance.training.trainable import Trainable

ADAPTER = "default"
PREFIX = "base_model.model."  # what peft puts before a checkpoint's names
DENSE_LIMIT = 256  # tokens; above it the score matrix outgrows the caches and the tiled kernel wins


class LoraProduct(torch.autograd.Function):
    """y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ with W frozen. Shapes: x [n, in], W [out, in], A [r, in], B [out, r]."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        low = x @ a.t()
        y = x @ weight.t()
        y.addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(x, low, weight, a, b)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = gradients
        x, low, weight, a, b = ctx.saved_tensors
        grad_b = (grad.t() @ low).mul_(ctx.scale)
        grad_low = (grad @ b).mul_(ctx.scale)
        grad_a = grad_low.t() @ x
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            grad_x.addmm_(grad_low, a)
        return grad_x, None, grad_a, grad_b, None


def _fused_forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    flat = x.reshape(-1, x.shape[-1])
    y = LoraProduct.apply(  # type: ignore[no-untyped-call]
        flat,
        self.base_layer.weight,
        self.lora_A[ADAPTER].weight,
        self.lora_B[ADAPTER].weight,
        self.scaling[ADAPTER],
    )
    return cast(torch.Tensor, y).view(*x.shape[:-1], -1)


def dense_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention by plain matrix products; grouped heads share their keys without copies.

    Shapes: query [rows, heads, tokens, width], key and value [rows, groups, tokens, width].
    """
    rows, heads, tokens, width = query.shape
    on_cpu = query.device.type == "cpu"  # elsewhere torch's own kernels (FlashAttention) are the quick ones
    if not on_cpu or attention_mask is not None or tokens > DENSE_LIMIT or key.shape[2] != tokens:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return out, None
    groups = key.shape[1]
    each = heads // groups
    scale = scaling if scaling is not None else width**-0.5
    scores = query.reshape(rows, groups, each * tokens, width) @ key.transpose(-1, -2)
    future = torch.full((tokens, tokens), float("-inf"), dtype=query.dtype).triu_(1)
    masked = torch.add(future, scores.view(rows, groups, each, tokens, tokens), alpha=scale)
    weights = torch.softmax(masked, dim=-1)
    out = weights.view(rows, groups, each * tokens, tokens) @ value
    return out.view(rows, heads, tokens, width).transpose(1, 2).contiguous(), None


ATTENTION = "anchorhold_dense"
AttentionInterface.register(ATTENTION, dense_attention)


class ModuleTrainable(Trainable):
    """A peft model in training, on the device it lies on; its working weights are the modules' own parameters."""

    shares_prefix = False

    def __init__(self, model: PeftModel, dtype: torch.dtype, fused: bool, in_step: bool = False) -> None:
        """Take over a model.

        Args:
            model: peft's, loaded.
            dtype: what its LoRA weights are put into.
            fused: whether its LoRA products are fused where that may be.
            in_step: whether several processes hold its weights together.
        """
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        masters = [weight.detach().float().clone().requires_grad_(True) for _, weight in named]
        super().__init__(file_names(model), masters, adapter_settings(model))
        self.model, self.in_step = model, in_step
        self.working = [weight for _, weight in named]
        for weight in self.working:
            weight.data = weight.data.to(dtype)
        self._layers = {
            name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)
        }
        head = model.base_model.model.get_output_embeddings()
        self._frozen = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear)
            and module is not head
            and not any(name.startswith(f"{layer}.") for layer in self._layers)
        }
        for module in self._layers.values() if fused else ():
            if module.base_layer.bias is None:
                module.forward = types.MethodType(_fused_forward, module)
        base = model.base_model.model
        embeddings, projection = base.get_input_embeddings(), base.lm_head
        # A shard holds one table where it is tied, and nothing in the place of the other.
        tied = projection.weight is embeddings.weight or projection.weight.is_meta
        self._tables = [embeddings] if tied else [embeddings, projection]
        self._entered: Grid | None = None

    def _drop(self, wanted: bool) -> None:
        """Dropout belongs to learning; the base itself stays as it was loaded, without."""
        for module in self._layers.values():
            module.lora_dropout.train(wanted)

    def _loss(self, batch: Batch) -> torch.Tensor:
        batch = batch.to(self.masters[0].device)
        hidden = self.model.base_model.model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        at_targets = hidden.reshape(-1, hidden.shape[-1])[batch.positions[: batch.learnt]]
        with gathered(self._tables[-1]) as projection:
            loss = TargetLoss.apply(at_targets, projection, batch.targets[: batch.learnt])  # type: ignore[no-untyped-call]
        return cast(torch.Tensor, loss)

    def loss(self, batch: Batch) -> float:
        """Mean cross-entropy, nothing learnt."""
        self._drop(False)
        with torch.no_grad():
            return float(self._loss(batch))

    def learn(self, batch: Batch) -> float:
        """Mean cross-entropy, and the gradients of the masters."""
        self._drop(True)
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter, master in zip(self.working, self.masters, strict=True):
            if parameter.grad is None:
                raise ModelError(
                    "a LoRA weight got no gradient", "this architecture can't be trained; report it"
                )
            master.grad = parameter.grad.float()
            parameter.grad = None
        return float(loss.detach())

    def push_weights(self) -> None:
        """Bring the masters into the working weights."""
        with torch.no_grad():
            for parameter, master in zip(self.working, self.masters, strict=True):
                parameter.copy_(master)

    def enter_grid(self, grid: Grid) -> None:
        """Compute with the merged weights as they ship, rounded from the masters as they are now.

        The base's own weights are overwritten; the checkpoint has them. Dropout acts on what goes into A alone, so what
        is merged, and ships, is the same with it.
        """
        master_of = dict(zip(map(id, self.working), self.masters, strict=True))
        merged = [
            Merged(
                f"{name.removeprefix(PREFIX)}.weight",
                master_of[id(module.lora_B[ADAPTER].weight)].detach().cpu(),
                master_of[id(module.lora_A[ADAPTER].weight)].detach().cpu(),
                *rows_held(module.base_layer.weight)[::-1],
            )
            for name, module in self._layers.items()
        ]
        # What doesn't learn ships rounded like the rest.
        merged += [
            Merged(
                f"{name.removeprefix(PREFIX)}.weight",
                torch.zeros(module.out_features, 1),
                torch.zeros(1, module.in_features),
                *rows_held(module.weight)[::-1],
            )
            for name, module in self._frozen.items()
            if self._entered is not grid
        ]
        grid.round_all(merged)
        if self._entered is not grid:  # the base's own, so once is enough
            for name, table in zip((EMBEDDINGS, PROJECTION), self._tables, strict=False):
                rows, held = rows_held(table.weight)
                grid.fill_table(name, held, rows)
            self._entered = grid

    def parts(self, masters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Views of each LoRA weight's part, in the order of `names`: here one tensor each."""
        return list(masters)


def file_names(model: PeftModel) -> list[str]:
    """The trainable parameters' names as peft writes them to disk."""
    return [
        name.replace(f".{ADAPTER}.", ".") for name, weight in model.named_parameters() if weight.requires_grad
    ]


def _failed(checkpoint: Path, error: Exception) -> ModelError:
    return ModelError(f"{checkpoint}: transformers can't load it: {error}", "is it a complete checkpoint?")


_UNLOADABLE = (OSError, ValueError, RuntimeError, KeyError)


def load_on(
    device: torch.device, checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype
) -> ModuleTrainable:
    """A base with LoRA to train on `device`; this process's share of it where the recipe says so.

    Raises:
        ModelError: transformers can't load it.
    """
    if recipe.shard:
        model = load_shard(checkpoint, recipe, dtype, device)
    else:
        model = load_modules(checkpoint, recipe, dtype).to(device)
    return ModuleTrainable(model, dtype, fused=recipe.dropout == 0.0, in_step=recipe.shard)


def load_modules(checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype) -> PeftModel:
    """Load a checkpoint folder in `dtype` and put LoRA on those of its linear layers that learn.

    Raises:
        ModelError: transformers can't load it.
        TrainingError: it has no linear layers of a name that the recipe tells.
    """
    transformers_logging.disable_progress_bar()
    try:
        base = AutoModelForCausalLM.from_pretrained(
            str(checkpoint), dtype=dtype, local_files_only=True, attn_implementation=ATTENTION
        )
    except _UNLOADABLE as error:
        raise _failed(checkpoint, error) from error
    return _with_lora(base, recipe)


def load_shard(
    checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype, device: torch.device
) -> PeftModel:
    """The same, with this process's rows of the base's weights only; LoRA's are whole, and those of `load_modules`.

    Raises:
        ModelError: transformers can't build it, or the checkpoint lacks a weight.
    """
    try:
        base = hollow(checkpoint, dtype, ATTENTION)
    except _UNLOADABLE as error:
        raise _failed(checkpoint, error) from error
    model = _with_lora(base, recipe)
    spread(model, checkpoint, device)
    return model


def _with_lora(base: Any, recipe: TrainingSection) -> PeftModel:
    known = linear_layers(base)
    for name in recipe.modules:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TrainingError(
                f"training.modules: the base has no linear layers called {name!r}",
                f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}",
            )
    torch.manual_seed(recipe.seed)
    base.config.use_cache = False
    settings = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft asks transformers for a name that transformers is about to change.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        return cast(
            PeftModel, get_peft_model(base, settings, adapter_name=ADAPTER, autocast_adapter_dtype=False)
        )


def linear_layers(base: Any) -> list[str]:
    """What the linear layers of a model's blocks are called, each name once: those that LoRA can be put on."""
    head = base.get_output_embeddings()
    names = [
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return list(dict.fromkeys(names))


def adapter_settings(model: PeftModel) -> dict[str, Any]:
    """The `adapter_config.json` of peft for this adapter; the caller says the base's name."""
    settings = model.peft_config[ADAPTER].to_dict()
    settings["inference_mode"] = True
    return {
        key: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for key, value in settings.items()
    }
