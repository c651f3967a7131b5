"""What the training loop needs of a model, whichever way it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from appliance.training.batches import Batch
from appliance.training.int4 import Grid


class Trainable(ABC):
    """A frozen base with LoRA weights in training.

    Attributes:
        names: the LoRA weights' names, in peft's on-disk form and order.
        masters: the float32 tensors that the optimizer changes; `learn` fills their gradients.
        settings: peft's `adapter_config.json` for it.
        shares_prefix: whether it takes batches whose rows share their beginning.
        coarse: whether it takes batches of few shapes (`batches.collate`).
        in_step: whether `loss` and `learn` only run in all processes together, since these share the weights.
    """

    shares_prefix: bool
    coarse: bool = False
    in_step: bool = False

    def __init__(self, names: list[str], masters: list[torch.Tensor], settings: dict[str, Any]) -> None:
        self.names, self.masters, self.settings = names, masters, settings

    @abstractmethod
    def loss(self, batch: Batch) -> float:
        """Mean cross-entropy over the batch's targets, in nats."""

    @abstractmethod
    def learn(self, batch: Batch) -> float:
        """The same, and the gradients of `masters`."""

    @abstractmethod
    def push_weights(self) -> None:
        """Bring what the optimizer did to `masters` into the weights that are computed with."""

    @abstractmethod
    def parts(self, masters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Views of each LoRA weight's part, in the order of `names`.

        Args:
            masters: tensors laid out as `masters` are: those themselves, their gradients, the optimizer's moments.
        """

    def tensors(self) -> list[torch.Tensor]:
        """The LoRA weights in the order of `names`, float32; views of `masters`."""
        return self.parts([master.detach() for master in self.masters])

    @abstractmethod
    def enter_grid(self, grid: Grid) -> None:
        """From now on compute with the merged weights as they ship, rounded from the masters as they are now."""

    def adapter(self) -> dict[str, torch.Tensor]:
        """A copy of the LoRA weights under peft's names, float32, on the CPU."""
        return {name: tensor.cpu().clone() for name, tensor in zip(self.names, self.tensors(), strict=True)}
