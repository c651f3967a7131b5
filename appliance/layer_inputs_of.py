"""Two ways to run a model a layer at a time: the written-out decoder, and transformers' modules for all else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from appliance.layer_inputs import LayerInputs, Moments, Sums
from appliance.paths import cache_folder
from appliance.training.attention import Attention
from appliance.training.decoder import Decoder, Group, Layer
from appliance.training.device import CPU
from appliance.training.encoding import Encoded
from appliance.training.kernels import load as load_kernels
from appliance.training.llama import written_out

_GROUPS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


def layer_inputs(
    checkpoint: Path, adapter: Path | None, rows: Sequence[Encoded], dtype: torch.dtype, device: torch.device
) -> LayerInputs:
    """The quicker of the two that computes this model here; arguments as `LayerInputs` has them."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(checkpoint), local_files_only=True)
    kind = DecoderInputs if device == CPU and written_out(config) else ModuleInputs
    return kind(checkpoint, adapter, rows, dtype, device)


class DecoderInputs(LayerInputs):
    """By training/decoder.py, which computes the tokens that rows begin with once."""

    shares = True

    def __init__(self, *arguments: Any) -> None:
        """As `LayerInputs`."""
        super().__init__(*arguments)
        positions = max(len(batch.prefix) + batch.ids.shape[1] for batch, _ in self._batches)
        cosine, sine = self._rotary(torch.empty(0, dtype=torch.float32), torch.arange(positions)[None])
        half, groups = cosine.shape[-1] // 2, self.config.num_key_value_heads
        angles = cosine[0, :, :half].float().contiguous(), sine[0, :, :half].float().contiguous()
        attention = Attention(groups, self.config.num_attention_heads // groups, angles)
        nothing = torch.empty(0, dtype=self._dtype)
        kernels = load_kernels(cache_folder())
        self._decoder = Decoder(nothing, [], nothing, nothing, attention, self.config.rms_norm_eps, kernels)

    def _pass(self, number: int, states: list[torch.Tensor]) -> Moments:
        weights, sums = self._weights(number), Sums()
        groups = {
            name: self._group([weights[f"{part}.weight"] for part in parts])
            for name, parts in _GROUPS.items()
        }
        norms = weights["input_layernorm.weight"], weights["post_attention_layernorm.weight"]
        layer = Layer(norms[0], groups["qkv"], groups["out"], norms[1], groups["gate_up"], groups["down"])
        for (batch, counted), state in zip(self._batches, states, strict=True):
            look = partial(sums.add, counted=counted)
            state.copy_(self._decoder.pass_layer(layer, state, batch, look))
        places = self.places[number]
        return {places[part]: sums.found[name] for name, parts in _GROUPS.items() for part in parts}

    def _group(self, weights: Sequence[torch.Tensor]) -> Group:
        """Layers with a common input; the adapter is in the weights."""
        stacked = torch.cat(list(weights)) if len(weights) > 1 else weights[0]
        return Group(stacked, stacked.new_empty(0, stacked.shape[1]), stacked.new_empty(len(stacked), 0))


class ModuleInputs(LayerInputs):
    """By transformers' modules, on any device."""

    def _pass(self, number: int, states: list[torch.Tensor]) -> Moments:
        layer, sums = self._layers[number], Sums()
        same: dict[str, str] = {}
        last: list[tuple[torch.Tensor, str]] = []
        kept, now = torch.empty(0), self._batches[0][1]

        def taking(name: str) -> Callable[..., None]:
            def take(_module: Any, given: tuple[torch.Tensor, ...]) -> None:
                # Queries, keys and values are given the very same tensor, and so are gate and up.
                if last and last[0][0] is given[0]:
                    same[name] = last[0][1]
                    return
                last[:] = [(given[0], name)]
                same[name] = name
                sums.add(name, given[0].flatten(0, 1)[kept], now)

            return take

        layer.load_state_dict(self._weights(number), assign=True)
        hooks = [
            layer.get_submodule(where).register_forward_pre_hook(taking(name))
            for where, name in self.places[number].items()
        ]
        try:
            with torch.no_grad():
                for (batch, counted), state in zip(self._batches, states, strict=True):
                    kept, now = batch.kept.to(self._device), counted
                    # Padding is on the right, where causal attention never looks.
                    wide = state.new_zeros(batch.padded, state.shape[1]).index_copy_(0, kept, state)
                    x = wide.view(*batch.ids.shape, -1)
                    positions = torch.arange(batch.ids.shape[1], device=self._device)[None]
                    turned = self._rotary(x, positions)
                    out = layer(x, position_ids=positions, position_embeddings=turned)
                    state.copy_((out[0] if isinstance(out, tuple) else out).flatten(0, 1)[kept])
                    last.clear()
        finally:
            for hook in hooks:
                hook.remove()
            layer.to("meta")
        return {name: sums.found[first] for name, first in same.items()}
