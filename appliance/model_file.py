"""A GGUF file before anything else opens it: its header read within limits, and what speaks against loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from appliance.conversion import reported_errors
from appliance.errors import ModelError

if TYPE_CHECKING:
    from convert.gguf_header import Header

_MOST_TOLD = 5


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`, its structure checked; the weights aren't read.

    Raises:
        ModelError: no such file, no GGUF, damaged or hostile; the message names the byte and the limit.
    """
    from convert import gguf_header

    with reported_errors():
        return gguf_header.open_header(path)


def check(path: Path) -> Header:
    """`read_header`, and llama.cpp must find what it needs there.

    Raises:
        ModelError: as `read_header`, or with all that llama.cpp would fail at.
    """
    from convert import gguf_requirements

    header = read_header(path)
    found = gguf_requirements.faults(header)
    if found:
        more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise ModelError(
            f"{path}: can't be served: {'; '.join(found[:_MOST_TOLD])}{more}",
            "convert the model again from its checkpoint, or get the file again from its source",
        )
    return header
