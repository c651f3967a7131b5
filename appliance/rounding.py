"""How the weights of a project's file are rounded: each to the nearest, or so that their errors make up for each other.

The second way (convert/compensated.py) needs to know what the layers are given: training rows run through the base with
the adapter merged (calibration.py). Where there are none, the first way is taken and told.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import compiled
from appliance.events import Emit, Event
from appliance.paths import Project, cache_folder
from convert.compensated import COMPENSATED, choose_levels, quantize_compensated
from convert.native_levels import SOURCE, NativeLevels
from convert.to_gguf import as_libggml

if TYPE_CHECKING:
    from appliance.calibration import Calibration
    from convert.compensated import Choose
    from convert.libggml import Bytes, Floats

STAGE = "convert"


class Rounding:
    """A `convert.to_gguf.Quantize` for all files of one adapter."""

    def __init__(self, project: Project, checkpoint: Path, emit: Emit) -> None:
        """Nothing is loaded yet.

        Args:
            project: with its adapter; `convert.rounding` decides.
            checkpoint: the base's folder.
            emit: progress.
        """
        self._project, self._checkpoint, self._emit = project, checkpoint, emit
        self._calibration: Calibration | None = None
        self._choose: Choose = choose_levels
        self._asked = not project.config.compensates
        self._used = False

    def prepare(self, kind: str, parts: dict[str, str]) -> None:
        """Begin a file: read the rows, unless that is done or these types have no use for them."""
        self._used = False
        if self._asked or not COMPENSATED & {kind, *parts.values()}:
            return
        self._asked = True
        self._calibration = self._calibrated()

    @property
    def name(self) -> str:
        """How the file that was written last is rounded: `gptq` or `nearest`."""
        return "gptq" if self._used else "nearest"

    def __call__(self, name: str, rows: Floats, kind: str) -> Bytes:
        """Rows [rows, columns] of the tensor `name` in the bytes of a type."""
        how = None
        if self._calibration is not None and kind in COMPENSATED:
            how = self._calibration.of(name)
        if how is None:
            return as_libggml(name, rows, kind)
        self._used = True
        return quantize_compensated(rows, kind, how, self._choose)

    def _calibrated(self) -> Calibration | None:
        import appliance.training  # noqa: F401 - sets what torch reads when it is loaded
        from appliance.calibration import Calibration, chosen, memory_needed
        from appliance.dataset import read_rows
        from appliance.training.device import CPU, device_of
        from appliance.training.estimate import free_memory
        from appliance.training.precision import kept_dtype

        path = self._project.dataset / "train.jsonl"
        if not path.is_file():
            self._without("there are no training rows here; `anchorhold dataset` makes them")
            return None
        self._choose = compiled.load(SOURCE, cache_folder(), NativeLevels) or choose_levels
        rows = chosen(read_rows(path), self._checkpoint)
        dtype, device = kept_dtype(self._project), device_of(self._project.config.training)
        needed = memory_needed(self._checkpoint, rows, dtype)
        if device == CPU and needed > free_memory():
            self._without(
                f"measuring the layers takes {needed / 1e9:.1f} GB of memory, and so much isn't free"
            )
            return None
        return Calibration(self._checkpoint, self._project.adapter, rows, dtype, device)

    def _without(self, reason: str) -> None:
        self._emit(Event(STAGE, "warning", f"weights are rounded to the nearest: {reason}"))


def of_file(project: Project, kind: str) -> str:
    """How the project's file of a type was rounded, as convert.json tells; empty where it tells nothing."""
    try:
        record = json.loads((project.model / "convert.json").read_text(encoding="utf-8"))
        return str(record["files"][kind].get("rounding", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
