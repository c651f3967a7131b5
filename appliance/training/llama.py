"""A transformers Llama under peft's LoRA, taken apart into the written-out decoder (decoder.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from appliance.config import TrainingSection
from appliance.training.attention import Attention
from appliance.training.batches import Batch
from appliance.training.decoder import Decoder, Group, Layer
from appliance.training.device import CPU, device_of
from appliance.training.graphs import CudaRecord, Graphs
from appliance.training.int4 import EMBEDDINGS, PROJECTION, Grid, Merged
from appliance.training.kernels import Plain
from appliance.training.kernels import load as load_kernels
from appliance.training.modules import (
    ADAPTER,
    PREFIX,
    ModuleTrainable,
    adapter_settings,
    file_names,
    load_modules,
    load_on,
)
from appliance.training.trainable import Trainable

# Rotary embeddings whose angles depend on the length of what is read can't be tabled once.
TABLED_ROPE = {"default", "linear", "llama3", "yarn"}


def load(checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype, cache: Path) -> Trainable:
    """Load a checkpoint folder and put LoRA on all its linear layers, in the quickest way that computes it.

    Args:
        checkpoint: the base's folder.
        recipe: rank, alpha, dropout, modules, seed, device and shard are used.
        dtype: what to compute in; the LoRA weights' masters are float32 in any case.
        cache: where compiled kernels are kept.

    Raises:
        ModelError: transformers can't load it.
        TrainingError: there is no such device, or there are no linear layers of a name that the recipe tells.
    """
    device = device_of(recipe)
    if recipe.shard:
        return load_on(device, checkpoint, recipe, dtype)
    model = load_modules(checkpoint, recipe, dtype).to(device)
    if recipe.dropout == 0.0 and written_out(model.base_model.model.config):
        if recipe.modules:  # in the decoder all have a place, and those that don't learn stay zero
            del model
            model = load_modules(checkpoint, recipe.model_copy(update={"modules": ()}), dtype).to(device)
        scale, learning = recipe.alpha / recipe.rank, recipe.modules
        if device == CPU:
            return LlamaTrainable(model, dtype, scale, load_kernels(cache), modules=learning)
        return LlamaTrainable(model, dtype, scale, Plain(), Graphs(CudaRecord()), modules=learning)
    return ModuleTrainable(model, dtype, fused=recipe.dropout == 0.0)


def written_out(config: Any) -> bool:
    """Whether decoder.py holds this architecture."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type == "llama"
        and config.hidden_act == "silu"
        and not (config.attention_bias or config.mlp_bias)
        and config.attention_dropout == 0.0
        and rope.get("rope_type", "default") in TABLED_ROPE
    )


@dataclass(frozen=True)
class _Place:
    """Where one LoRA pair stands: A at [a, a + rank * in) of the flat weights, B at [b, b + out * rank).

    `name` is that of the base's weight in its checkpoint; what doesn't `learn` keeps the zeros of its B.
    """

    name: str
    learns: bool
    a: int
    b: int
    rows: slice
    columns: slice
    inputs: int


class LlamaTrainable(Trainable):
    """The LoRA weights of all layers in one flat tensor, and the decoder that computes with them."""

    shares_prefix = True

    def __init__(
        self,
        model: PeftModel,
        dtype: torch.dtype,
        scale: float,
        kernels: Plain,
        graphs: Graphs | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        """Take a model apart; it is not usable afterwards.

        Args:
            model: peft's, loaded, on the device that computes.
            dtype: what it computes in.
            scale: alpha / rank.
            kernels: of that device.
            graphs: what records its work, where starting it costs more than doing it.
            modules: the linear layers that learn, by their names; empty: all.
        """
        self._learning = frozenset(modules)
        self._graphs, self.coarse = graphs, graphs is not None
        settings = adapter_settings(model) | ({"target_modules": sorted(modules)} if modules else {})
        names = [name for name in file_names(model) if self._learns(name.split(".")[-3])]
        count = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        self._device = next(model.parameters()).device
        master = torch.empty(count, device=self._device)
        self._working = torch.empty(count, dtype=dtype, device=self._device)
        self._scale, self._filled = scale, 0
        self._placed: list[tuple[Group, list[_Place]]] = []
        self._shapes: dict[str, tuple[int, tuple[int, ...]]] = {}
        llama = model.base_model.model
        config, inner = llama.config, llama.model
        layers = []
        for number, layer in enumerate(inner.layers):
            attention, mlp, where = layer.self_attn, layer.mlp, f"base_model.model.model.layers.{number}"
            layers.append(
                Layer(
                    layer.input_layernorm.weight.data,
                    self._group(attention, ("q_proj", "k_proj", "v_proj"), f"{where}.self_attn", master),
                    self._group(attention, ("o_proj",), f"{where}.self_attn", master),
                    layer.post_attention_layernorm.weight.data,
                    self._group(mlp, ("gate_proj", "up_proj"), f"{where}.mlp", master),
                    self._group(mlp, ("down_proj",), f"{where}.mlp", master),
                )
            )
        assert self._filled == count, "a LoRA weight has no place in the decoder"
        master.grad = torch.zeros_like(master)  # at one place for good
        super().__init__(names, [master.requires_grad_(True)], settings)
        self._tied = bool(config.tie_word_embeddings)
        self._tables: Grid | None = None
        groups = config.num_key_value_heads
        self._rotary = inner.rotary_emb
        self.decoder = Decoder(
            inner.embed_tokens.weight.data,
            layers,
            inner.norm.weight.data,
            llama.lm_head.weight.data,
            Attention(groups, config.num_attention_heads // groups, self._angles(512)),
            config.rms_norm_eps,
            kernels,
        )
        self.push_weights()

    def _learns(self, module: str) -> bool:
        return not self._learning or module in self._learning

    def _group(self, parent: Any, parts: tuple[str, ...], where: str, master: torch.Tensor) -> Group:
        """Stack the linear layers `parts` of `parent` and give their LoRA pairs places in the flat weights."""
        modules = [getattr(parent, part) for part in parts]
        weights = [module.base_layer.weight.data for module in modules]
        outs, inputs, start = tuple(len(weight) for weight in weights), weights[0].shape[1], self._filled
        pairs = [(module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight) for module in modules]
        rank = len(pairs[0][0])
        places, b, at = [], start + len(parts) * rank * inputs, 0
        for number, (part, (a_weight, b_weight)) in enumerate(zip(parts, pairs, strict=True)):
            a = start + number * rank * inputs
            for kind, offset, weight in (("A", a, a_weight), ("B", b, b_weight)):
                master[offset : offset + weight.numel()] = weight.detach().float().flatten()
                self._shapes[f"{where}.{part}.lora_{kind}.weight"] = (offset, tuple(weight.shape))
            rows, columns = slice(at, at + outs[number]), slice(number * rank, (number + 1) * rank)
            places.append(
                _Place(
                    f"{where.removeprefix(PREFIX)}.{part}.weight",
                    self._learns(part),
                    a,
                    b,
                    rows,
                    columns,
                    inputs,
                )
            )
            b, at = b + b_weight.numel(), at + outs[number]
        self._filled = b
        stacked = weights[0] if len(weights) == 1 else torch.cat(weights)
        for module in modules:  # the stack replaces them; both would double the memory
            module.base_layer.weight.data = torch.empty(0)
        down = self._working[start : start + len(parts) * rank * inputs].view(-1, inputs)
        group = Group(stacked, down, stacked.new_zeros(sum(outs), len(parts) * rank))
        self._placed.append((group, places))
        return group

    def _angles(self, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.arange(positions, device=self._device)[None]
        cosine, sine = self._rotary(torch.empty(0, dtype=torch.float32, device=self._device), places)
        half = cosine.shape[-1] // 2
        return cosine[0, :, :half].float().contiguous(), sine[0, :, :half].float().contiguous()

    def _reach(self, batch: Batch) -> None:
        wanted, known = len(batch.prefix) + batch.ids.shape[1], len(self.decoder.attention.angles[0])
        if wanted > known:
            self.decoder.attention.angles = self._angles(max(wanted, 2 * known))
            if self._graphs:
                self._graphs.forget()

    def loss(self, batch: Batch) -> float:
        """Mean cross-entropy, nothing learnt."""
        return self._mean(batch, learn=False)

    def learn(self, batch: Batch) -> float:
        """Mean cross-entropy, and the gradients of the masters."""
        return self._mean(batch, learn=True)

    def _mean(self, batch: Batch, learn: bool) -> float:
        self._reach(batch)
        batch = batch.to(self._device)
        if self._graphs is None:
            total = self._computed(batch, 1.0 / batch.learnt if learn else 0.0)
            return float(total) / batch.learnt
        # How many targets there are differs within one shape, so what is recorded divides by nothing.
        given = (batch.prefix, batch.ids, batch.positions, batch.targets, batch.kept, batch.places)
        key = (learn, *(tensor.shape for tensor in given))
        work = partial(self._recordable, 1.0 if learn else 0.0)
        total = self._graphs.run(key, given, work)
        if learn:
            grad = self.masters[0].grad
            assert grad is not None
            grad.div_(batch.learnt)
        return float(total) / batch.learnt

    def _recordable(self, scale: float, given: Sequence[torch.Tensor]) -> torch.Tensor:
        prefix, ids, positions, targets, kept, places = given
        return self._computed(Batch(prefix, ids, positions, targets, kept, places, learnt=1, tokens=0), scale)

    def _computed(self, batch: Batch, scale: float) -> torch.Tensor:
        """The sum of the losses; above 0, the masters' gradients of `scale` times it."""
        total = self.decoder.total(batch, scale)
        if scale > 0:
            self._gather()
        return total

    def _gather(self) -> None:
        """The groups' gradients into the masters'."""
        flat = self.masters[0].grad
        assert flat is not None
        for group, places in self._placed:
            for place in places:
                if not place.learns:
                    continue
                rank = place.columns.stop - place.columns.start
                size = rank * place.inputs
                flat[place.a : place.a + size].view(rank, -1).copy_(group.grad_down[place.columns])
                block = group.grad_up[place.columns, place.rows].t()
                # `up` holds the scale, so the gradient of B itself is that many times its own.
                torch.mul(block, self._scale, out=flat[place.b : place.b + block.numel()].view(block.shape))

    def push_weights(self) -> None:
        """Bring the masters into the working weights."""
        if self._graphs is None:
            self._push(())
        else:
            self._graphs.run("push", (), self._push)

    def _push(self, _: Sequence[torch.Tensor]) -> torch.Tensor:
        (master,) = self.masters
        with torch.no_grad():
            self._working.copy_(master)
            for group, places in self._placed:
                for place in places:
                    block = group.up[place.rows, place.columns]
                    block.copy_(master[place.b : place.b + block.numel()].view(block.shape) * self._scale)
        return self._working[:1]

    def enter_grid(self, grid: Grid) -> None:
        """Compute with the merged weights as they ship, rounded from the masters as they are now.

        The base's own weights are overwritten; the checkpoint has them.
        """
        flat = self.masters[0].detach().cpu()
        matrices = []
        for group, places in self._placed:
            for place in places:
                rank, outs = place.columns.stop - place.columns.start, place.rows.stop - place.rows.start
                matrices.append(
                    Merged(
                        place.name,
                        flat[place.b : place.b + outs * rank].view(outs, rank),
                        flat[place.a : place.a + rank * place.inputs].view(rank, place.inputs),
                        group.weight[place.rows],
                    )
                )
        grid.round_all(matrices)
        if self._tables is not grid:  # the base's own, so once is enough
            grid.fill_table(EMBEDDINGS, self.decoder.embeddings)
            if not self._tied:
                grid.fill_table(PROJECTION, self.decoder.projection)
            self._tables = grid

    def parts(self, masters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Views of each LoRA weight's part, in the order of `names`, of the one flat tensor."""
        (flat,) = masters
        found = []
        for name in self.names:
            offset, shape = self._shapes[name]
            found.append(flat[offset : offset + shape[0] * shape[1]].view(shape))
        return found
