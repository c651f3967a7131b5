"""A base that no process holds whole: each keeps its rows of every frozen weight, a layer is gathered while it is used.

torch's FSDP2 (`fully_shard`) gathers and lets go: one group a decoder layer, one for the embeddings, one for an output
projection of its own. The LoRA weights stay whole in every process, and crew.py sums their gradients as without
sharding; frozen weights have none. Nothing is loaded whole either: the model is built without memory for its weights,
and each process reads its own rows from the memory-mapped checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig, AutoModelForCausalLM

from appliance.errors import ModelError
from convert.safetensors_file import StoredTensor, read_checkpoint


def _replace_frozen(model: nn.Module, make: Callable[[nn.Parameter], torch.Tensor]) -> None:
    """Put `make(weight)` in the place of each frozen weight; a weight that stands in two places stays one."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None and not weight.requires_grad:
                if weight not in made:
                    made[weight] = nn.Parameter(make(weight), requires_grad=False)
                module._parameters[name] = made[weight]


def _as_meta(_module: nn.Module, _name: str, weight: nn.Parameter | None) -> nn.Parameter | None:
    if weight is None or weight.is_meta:
        return None  # stays as it is
    return nn.Parameter(weight.detach().to("meta"), requires_grad=False)


def hollow(checkpoint: Path, dtype: torch.dtype, attention: str) -> Any:
    """The model of a checkpoint folder, frozen, each weight a single number that is read everywhere.

    So it takes no memory, and peft still puts LoRA weights beside it as beside a real one. Buffers (rotary angles) are
    computed as ever.
    """
    config = AutoConfig.from_pretrained(str(checkpoint), local_files_only=True)
    # What the hook returns is registered; the declared type knows only hooks that return nothing.
    hook = register_module_parameter_registration_hook(_as_meta)  # type: ignore[arg-type]
    try:
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=dtype)
    finally:
        hook.remove()
    model.requires_grad_(False).eval()
    _replace_frozen(model, lambda weight: torch.zeros((), dtype=weight.dtype).expand(weight.shape))
    return model


def _share(count: int) -> slice:
    """This process's of `count` rows, as FSDP2 parts them: equal pieces, the last ones shorter or empty."""
    piece = -(-count // distributed.get_world_size())
    start = min(count, distributed.get_rank() * piece)
    return slice(start, min(count, start + piece))


def rows_held(weight: torch.Tensor) -> tuple[slice, torch.Tensor]:
    """Which rows of a weight this process holds, and these rows; writing into them changes the weight."""
    if not isinstance(weight, DTensor):
        return slice(None), weight.detach()
    rows, local = _share(weight.shape[0]), weight.to_local().detach()
    assert len(local) == rows.stop - rows.start, "FSDP parts rows otherwise"
    return rows, local


@contextmanager
def gathered(table: nn.Module) -> Iterator[torch.Tensor]:
    """The whole weight of an embedding or projection, for as long as it is needed outside of the module's forward."""
    if not isinstance(table, FSDPModule):
        yield cast(torch.Tensor, table.weight)
        return
    table.unshard()
    try:
        yield cast(torch.Tensor, table.weight)
    finally:
        table.reshard()


def _stored_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _read(stored: StoredTensor, rows: slice, like: torch.Tensor) -> torch.Tensor:
    """These rows of a matrix, or values of a vector, in the type and on the device of `like`."""
    held = stored.rows(rows) if len(stored.shape) > 1 else stored.rows(slice(None))[0, rows]
    read = torch.empty(held.shape, dtype=like.dtype, device=like.device)
    read.copy_(torch.from_numpy(np.array(held)))  # a copy: a file's own pages may not be written
    stored.release()
    return read


def _fill(model: nn.Module, checkpoint: Path, device: torch.device) -> None:
    stored = read_checkpoint(checkpoint)
    for path, module in model.named_modules():
        for part, weight in list(module._parameters.items()):
            if not (isinstance(weight, DTensor) and weight.is_meta):
                continue
            name = _stored_name(f"{path}.{part}")
            if name not in stored or stored[name].shape != tuple(weight.shape):
                raise ModelError(
                    f"{checkpoint}: no tensor {name} of shape {list(weight.shape)}",
                    "is it a complete checkpoint? training.shard = false loads it by transformers' own rules",
                )
            like = torch.empty(0, dtype=weight.dtype, device=device)
            local = _read(stored[name], _share(weight.shape[0]), like)
            whole = DTensor.from_local(
                local, weight.device_mesh, weight.placements, run_check=False,
                shape=weight.shape, stride=weight.stride(),
            )  # fmt: skip
            setattr(module, part, nn.Parameter(whole, requires_grad=False))


def spread(model: Any, checkpoint: Path, device: torch.device) -> None:
    """Give a hollow model under peft this process's rows of the checkpoint's weights.

    Args:
        model: peft's, made on a `hollow` one; its LoRA weights are kept as they are.
        checkpoint: the base's folder.
        device: where the weights are held and computed with.

    Raises:
        ModelError: the checkpoint lacks a weight.
    """
    base = model.base_model.model
    kept = {weight for weight in model.parameters() if weight.requires_grad}
    _replace_frozen(model, lambda weight: torch.empty(weight.shape, dtype=weight.dtype, device="meta"))
    for weight in kept:
        weight.data = weight.data.to(device)
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    embeddings, projection = base.get_input_embeddings(), base.lm_head
    tables = [embeddings] if projection.weight is embeddings.weight else [embeddings, projection]
    for part in (*base.model.layers, *tables, base.model):
        fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    _fill(model, checkpoint, device)
