"""What opens keys: one passphrase for sealed files, and a PIN for each hardware token."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from appliance.errors import KeysError

PASSPHRASE, PIN, MODULE = "ANCHORHOLD_PASSPHRASE", "ANCHORHOLD_PIN", "ANCHORHOLD_PKCS11_MODULE"


class Ask(Protocol):
    """Asks whoever sits there; `confirm` has them type it twice."""

    def __call__(self, prompt: str, *, confirm: bool = False) -> str: ...


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"{file}: can't be read ({error})", "give a file with one line of text") from error


class Secrets:
    """A passphrase and PINs, each taken or asked for when it is first needed, and only then.

    Args:
        passphrase: by default what `passphrase_file` holds, else ANCHORHOLD_PASSPHRASE, else it is asked for.
        passphrase_file: see there.
        pin_files: `FILE`, or `TOKEN=FILE` with a token's label or serial number; else ANCHORHOLD_PIN, else it is asked
            for. One that names no token counts only where one token is there: tried on another it would use up one of
            the few wrong tries before that locks itself.
        module: the PKCS#11 library; by default ANCHORHOLD_PKCS11_MODULE.
        ask: None: nobody is there to be asked.
    """

    def __init__(
        self,
        passphrase: str | None = None,
        *,
        passphrase_file: Path | None = None,
        pin_files: Sequence[str] = (),
        module: Path | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._passphrase = passphrase
        self._passphrase_file = passphrase_file
        self._pin_files = tuple(pin_files)
        self._pins: dict[str, str] = {}
        self._module = module
        self._ask = ask

    @property
    def module(self) -> Path | None:
        """The PKCS#11 library; None if none is named."""
        given = os.environ.get(MODULE)
        return self._module or (Path(given) if given else None)

    @property
    def has_passphrase(self) -> bool:
        """Whether the passphrase is there without asking."""
        return (self._passphrase or self._passphrase_file or os.environ.get(PASSPHRASE)) is not None

    @property
    def has_pin(self) -> bool:
        """Whether a PIN is there without asking."""
        return bool(self._pin_files) or PIN in os.environ

    def passphrase(self, *, new: bool = False) -> str:
        """The passphrase of sealed keys.

        Args:
            new: it seals a first key; if it is asked for, then twice.

        Raises:
            KeysError: there is none, or it is empty.
        """
        found = self._passphrase
        if found is None and self._passphrase_file is not None:
            found = _read(self._passphrase_file)
        if found is None:
            found = os.environ.get(PASSPHRASE)
        if found is None:
            if self._ask is None:
                raise KeysError(
                    "no passphrase to unlock the signing keys",
                    f"set {PASSPHRASE}, or run the command by hand",
                )
            found = self._ask("Passphrase for the new keys" if new else "Passphrase of the keys", confirm=new)
        if not found.strip():
            raise KeysError(
                "the passphrase is empty", f"give one by prompt, --passphrase-file or {PASSPHRASE}"
            )
        self._passphrase = found
        return found

    def pin(self, label: str, serial: str, *, alone: bool) -> str:
        """The PIN of a token.

        Args:
            label, serial: of the token.
            alone: it is the only one that is there.

        Raises:
            KeysError: there is none, it is empty, or it can't be told whose it is.
        """
        if serial in self._pins:
            return self._pins[serial]
        found = self._given_pin(label, serial, alone)
        if found is None:
            if self._ask is None:
                unnamed = self.has_pin and not alone
                raise KeysError(
                    f"no PIN for the token {label} ({serial})"
                    + (": several tokens are there, and the PIN says not whose it is" if unnamed else ""),
                    "give --pin-file TOKEN=FILE" if unnamed else f"give --pin-file, or set {PIN}",
                )
            found = self._ask(f"PIN of the token {label} ({serial})")
        if not found:
            raise KeysError(f"the PIN of the token {label} is empty", f"give --pin-file, or set {PIN}")
        self._pins[serial] = found
        return found

    def _given_pin(self, label: str, serial: str, alone: bool) -> str | None:
        unnamed: str | None = None
        for text in self._pin_files:
            name, equals, file = text.partition("=")
            if not equals or Path(text).is_file():
                unnamed = text
            elif name in {label, serial}:
                return _read(Path(file))
        if not alone:
            return None
        return _read(Path(unnamed)) if unnamed is not None else os.environ.get(PIN)
