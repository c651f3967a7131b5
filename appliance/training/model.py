"""The base model with LoRA on all linear layers, made quick on a CPU without changing what is computed.

peft makes and names the adapter; two of its neighbours are replaced for speed: the LoRA product (one fused step
forward and one backward, no gradient for frozen weights) and attention over short rows (plain matrix products, which
on a CPU beat the tiled kernel there). Measured in docs/measurements.md, shown equal in tests/training.
"""

from __future__ import annotations

import types
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import logging as transformers_logging

from appliance.config import TrainingSection
from appliance.errors import ModelError

ADAPTER = "default"
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
    if attention_mask is not None or tokens > DENSE_LIMIT or key.shape[2] != tokens:
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


AttentionInterface.register("anchorhold_dense", dense_attention)


@dataclass
class Trainable:
    """A model in training.

    Attributes:
        model: the peft model, weights in the working type.
        names: the trainable parameters' names, in peft's on-disk form.
        working: those parameters, in the working type, used by forward and backward.
        masters: the same in float32; the optimizer changes these.
    """

    model: PeftModel
    names: list[str]
    working: list[torch.nn.Parameter]
    masters: list[torch.Tensor]

    @property
    def decoder(self) -> Any:
        """The stack below the output projection."""
        return self.model.base_model.model.model

    @property
    def projection(self) -> torch.Tensor:
        """The frozen output projection, shape [vocabulary, width]."""
        return cast(torch.Tensor, self.model.base_model.model.lm_head.weight)

    def pull_gradients(self) -> None:
        """Move the working gradients onto the float32 masters."""
        for parameter, master in zip(self.working, self.masters, strict=True):
            if parameter.grad is None:
                raise ModelError(
                    "a LoRA weight got no gradient", "this architecture can't be trained; report it"
                )
            master.grad = parameter.grad.float()
            parameter.grad = None

    def push_weights(self) -> None:
        """Copy the masters into the working parameters."""
        with torch.no_grad():
            for parameter, master in zip(self.working, self.masters, strict=True):
                parameter.copy_(master)

    def adapter(self) -> dict[str, torch.Tensor]:
        """The adapter's tensors under peft's names, float32."""
        return {name: master.detach().clone() for name, master in zip(self.names, self.masters, strict=True)}


def load(checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype) -> Trainable:
    """Load a checkpoint folder and put LoRA on all its linear layers.

    Raises:
        ModelError: transformers can't load it.
    """
    torch.manual_seed(recipe.seed)
    transformers_logging.disable_progress_bar()
    try:
        base = AutoModelForCausalLM.from_pretrained(
            str(checkpoint), dtype=dtype, local_files_only=True, attn_implementation="anchorhold_dense"
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"{checkpoint}: transformers can't load it: {error}", "is it a complete checkpoint?"
        ) from error
    base.config.use_cache = False
    settings = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft asks transformers for a name that transformers is about to change.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        model = cast(
            PeftModel, get_peft_model(base, settings, adapter_name=ADAPTER, autocast_adapter_dtype=False)
        )
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    masters = [weight.detach().float().clone().requires_grad_(True) for _, weight in named]
    for _, weight in named:
        weight.data = weight.data.to(dtype)
    if recipe.dropout == 0.0:
        for module in model.modules():
            if isinstance(module, LoraLinear) and module.base_layer.bias is None:
                module.forward = types.MethodType(_fused_forward, module)
    return Trainable(
        model,
        [name.replace(f".{ADAPTER}.", ".") for name, _ in named],
        [weight for _, weight in named],
        masters,
    )


def adapter_settings(trainable: Trainable, base_name: str) -> dict[str, Any]:
    """The `adapter_config.json` of peft for this adapter, free of paths of this machine."""
    settings = trainable.model.peft_config[ADAPTER].to_dict()
    settings["base_model_name_or_path"] = base_name
    settings["inference_mode"] = True
    return {
        key: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for key, value in settings.items()
    }
