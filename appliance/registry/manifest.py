"""`release.json`: what a release says about itself, checked when it is read (docs/formats/release.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import TrustError
from appliance.registry import version as versions

FORMAT = "anchorhold-release/1"
FILE_NAME = "release.json"
BASELINE_ROLE = "baseline"
AUDIT_ROLE = "audit"
MAX_BYTES = 4 * 1024 * 1024  # of release.json
MAX_FILES = 64
MAX_AUDIT_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 1 << 42
MAX_GOLDEN = 32
DEFAULT_CONTEXT = 2048  # tokens
MAX_CONTEXT = 1 << 20
MAX_PASSAGES = 20  # looked up for one question
MAX_DEVICES = 256  # that a release is for by their ids, and kinds of machine
MACHINE = re.compile(r"[A-Za-z0-9_]{1,32}")  # as `uname -m` says it
DEVICE = re.compile(r"[0-9a-f]{32}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release.

    Attributes:
        name: plain file name, never a path.
        sha256: lower-case hex.
        bytes: its size.
        role: "model", "report", "card", ...; exactly one file is the model.
    """

    name: str
    sha256: str
    bytes: int
    role: str


@dataclass(frozen=True)
class Manifest:
    """A checked `release.json`."""

    name: str
    version: str
    files: tuple[ReleaseFile, ...]
    raw: dict[str, Any]

    @property
    def model(self) -> ReleaseFile:
        """The one file whose role is "model"."""
        return next(file for file in self.files if file.role == "model")


def context_of(raw: Mapping[str, Any]) -> int:
    """Tokens of prompt and answer that a parsed `release.json` says it needs."""
    needs = raw.get("needs", {})
    return int(needs.get("context", DEFAULT_CONTEXT))


def system_of(raw: Mapping[str, Any]) -> str:
    """The system prompt that a parsed `release.json` wants before conversations that bring none; may be empty."""
    return str(raw.get("system", ""))


def schema_of(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON Schema that a parsed `release.json` wants answers held to, its properties in their order; or None."""
    text = raw.get("schema", "")
    schema = json.loads(text) if text else None
    return schema if isinstance(schema, dict) else None


def retrieval_of(raw: Mapping[str, Any]) -> tuple[int, bool]:
    """How many passages a parsed `release.json` wants looked up for a question, and whether without being asked."""
    told = raw.get("retrieval", {})
    return int(told.get("top", 3)), bool(told.get("on", False))


def passages_in(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    """Digest and name of the index of documents that a parsed `release.json` lists; None without one."""
    found = next((file for file in raw.get("files", []) if file["role"] == "passages"), None)
    return (found["sha256"], found["name"]) if found else None


def baseline_of(raw: Mapping[str, Any]) -> ReleaseFile | None:
    """The file of a parsed `release.json` that says how its inputs are usually spread; None where it brings none."""
    return _of_role(raw, BASELINE_ROLE)


def _of_role(raw: Mapping[str, Any], role: str) -> ReleaseFile | None:
    """The first file of a role in a parsed `release.json`."""
    for entry in raw["files"]:
        if entry.get("role") == role:
            return ReleaseFile(**{key: entry[key] for key in ("name", "sha256", "bytes", "role")})
    return None


def audit_of(raw: Mapping[str, Any]) -> ReleaseFile | None:
    """The audit.json that a parsed `release.json` lists; None where it brings none of a size that is read."""
    found = _of_role(raw, AUDIT_ROLE)
    return found if found is not None and found.bytes <= MAX_AUDIT_BYTES else None


def is_file_name(name: object) -> bool:
    """Whether `name` is a plain, portable file name (no folder, no hidden file, no trailing dot)."""
    return isinstance(name, str) and _FILE_NAME.fullmatch(name) is not None and not name.endswith(".")


def is_digest(value: object) -> bool:
    """Whether `value` is a lower-case hex SHA-256."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _wrong(reason: str) -> TrustError:
    return TrustError(f"{FILE_NAME}: {reason}", "ask for the release to be made again")


def _file(entry: object) -> ReleaseFile:
    if not isinstance(entry, dict):
        raise _wrong("an entry of `files` isn't an object")
    name, digest, size, role = (entry.get(key) for key in ("name", "sha256", "bytes", "role"))
    if not isinstance(name, str) or not is_file_name(name):
        raise _wrong(f"{name!r} isn't a plain file name")
    if not isinstance(digest, str) or not is_digest(digest):
        raise _wrong(f"{name}: no SHA-256")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_FILE_BYTES:
        raise _wrong(f"{name}: no plausible size")
    if not isinstance(role, str) or not role:
        raise _wrong(f"{name}: no role")
    return ReleaseFile(name, digest, size, role)


def _are_texts(value: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(value.get(name), str) for name in names)


def _check_golden(raw: dict[str, Any]) -> None:
    golden = raw.get("golden", [])
    if not isinstance(golden, list) or len(golden) > MAX_GOLDEN:
        raise _wrong(f"`golden` isn't a list of at most {MAX_GOLDEN} prompts")
    for item in golden:
        messages = item.get("messages") if isinstance(item, dict) else None
        if not isinstance(messages, list) or not messages or not isinstance(item.get("answer"), str):
            raise _wrong("a golden prompt needs `messages` and `answer`")
        if not all(isinstance(turn, dict) and _are_texts(turn, "role", "content") for turn in messages):
            raise _wrong("a golden prompt's message needs `role` and `content`")


def _check_needs(raw: dict[str, Any]) -> None:
    needs = raw.get("needs", {})
    context = needs.get("context", DEFAULT_CONTEXT) if isinstance(needs, dict) else None
    if type(context) is not int or not DEFAULT_CONTEXT <= context <= MAX_CONTEXT:
        raise _wrong(f"`needs.context` isn't a number from {DEFAULT_CONTEXT} to {MAX_CONTEXT}")
    for name, each in (("machines", MACHINE), ("devices", DEVICE)):
        listed = needs.get(name, [])
        if not isinstance(listed, list) or len(listed) > MAX_DEVICES or not all(map(_matches(each), listed)):
            raise _wrong(f"`needs.{name}` isn't a list of at most {MAX_DEVICES} of {each.pattern}")


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _check_schema(raw: dict[str, Any]) -> None:
    text = raw.get("schema", "")
    try:
        fine = isinstance(text, str) and (not text or isinstance(json.loads(text), dict))
    except (ValueError, RecursionError):
        fine = False
    if not fine:
        raise _wrong("`schema` isn't the text of a JSON object")


def _check_retrieval(raw: dict[str, Any]) -> None:
    told = raw.get("retrieval", {})
    top, on = (told.get("top", 3), told.get("on", False)) if isinstance(told, dict) else (None, None)
    if type(top) is not int or not 1 <= top <= MAX_PASSAGES or not isinstance(on, bool):
        raise _wrong(f"`retrieval` isn't a number `top` from 1 to {MAX_PASSAGES} and a switch `on`")


def parse(data: bytes) -> Manifest:
    """Check the bytes of a `release.json`.

    Raises:
        TrustError: not JSON, of another format, or any field missing or implausible.
    """
    if len(data) > MAX_BYTES:
        raise _wrong(f"larger than {MAX_BYTES} bytes")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong("not JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise _wrong(f"not of the format {FORMAT}")
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except (UnicodeError, RecursionError) as error:
        raise _wrong("a text with half of a surrogate pair, which nothing can write") from error
    if not isinstance(raw.get("system", ""), str):
        raise _wrong("`system` isn't a text")
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong("`name` is missing or has characters other than a-z 0-9 . _ -")
    version = raw.get("version")
    if not isinstance(version, str) or versions.find(version) is None:
        raise _wrong("`version` isn't a semantic version")
    entries = raw.get("files")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_FILES:
        raise _wrong(f"`files` needs one to {MAX_FILES} entries")
    files = tuple(_file(entry) for entry in entries)
    names = [file.name.casefold() for file in files]
    if len(set(names)) != len(names) or FILE_NAME in names:
        raise _wrong("two files have the same name")
    if sum(file.role == "model" for file in files) != 1:
        raise _wrong("exactly one file must be the model")
    if sum(file.role == "passages" for file in files) > 1:
        raise _wrong("two files hold passages")
    _check_golden(raw)
    _check_needs(raw)
    _check_schema(raw)
    _check_retrieval(raw)
    return Manifest(name, version, files, raw)
