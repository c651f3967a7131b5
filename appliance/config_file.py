"""`anchorhold.toml`: one file a project, checked at once, all faults listed together."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from appliance.config import Config
from appliance.errors import ConfigError
from appliance.regular_file import open_regular

FILE_NAME = "anchorhold.toml"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return []
        section = field.annotation
    return list(section.model_fields)


def _explain(fault: Any) -> str:
    location = tuple(fault["loc"])
    name = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location), n=1, cutoff=0.5)
        return f"{name}: unknown key" + (f" (did you mean `{near[0]}`?)" if near else "")
    if fault["type"] == "missing":
        return f"{name}: missing"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]} (got {fault['input']!r})"


def parse(text: str, where: str = FILE_NAME) -> Config:
    """Parse and check the text of a configuration.

    Args:
        text: TOML.
        where: what to call it in errors.

    Raises:
        ConfigError: not TOML, or any key wrong; the message has one line a fault.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}", "mend the line that is named") from error
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        faults = [_explain(fault) for fault in error.errors()]
        lines = "".join(f"\n  {fault}" for fault in faults)
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        raise ConfigError(
            f"{where}: {count}:{lines}", "`anchorhold init` writes a commented example"
        ) from error


def load(path: Path) -> Config:
    """Read and check the configuration file at `path`.

    Raises:
        ConfigError: missing, unreadable or wrong.
    """
    try:
        with open_regular(path) as stream:
            text = stream.read().decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file",
            "run inside a project, give --project DIR, or begin with `anchorhold init DIR`",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", "save the file as UTF-8") from error
    return parse(text, str(path))
