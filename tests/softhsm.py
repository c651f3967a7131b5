"""Real PKCS#11 tokens in software: SoftHSM, with a folder of tokens of its own for each test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PIN = "4711"
_PLACES = (
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu/softhsm",
    "/usr/lib64/pkcs11",
    "/usr/local/lib/softhsm",
)


def module() -> Path:
    """SoftHSM's library; the test is skipped where it isn't installed."""
    found = [path for place in _PLACES if (path := Path(place) / "libsofthsm2.so").is_file()]
    if not found or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM (Debian: softhsm2)")
    return found[0]


class Tokens:
    """Tokens that can be plugged in and out."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = module()
        self.folder, self.away = folder / "plugged-in", folder / "away"
        for place in (self.folder, self.away):
            place.mkdir(parents=True)
        self._places: dict[str, str] = {}
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self.folder}\nlog.level = ERROR\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
        self.read_again()

    @property
    def library(self) -> Any:
        """python-pkcs11's handle of the module."""
        import pkcs11

        return pkcs11.lib(str(self.module.resolve()))

    def read_again(self) -> None:
        """SoftHSM looks for tokens when it is initialized."""
        self.library.reinitialize()

    def add(self, label: str, pin: str = PIN) -> str:
        """Make a token; returns its serial number."""
        before = set(self.folder.iterdir())
        words = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            pin,
            "--so-pin",
            "12345678",
        ]
        subprocess.run(words, check=True, capture_output=True)
        (made,) = set(self.folder.iterdir()) - before
        known = {token.serial for token in self.library.get_tokens()}
        self.read_again()
        (serial,) = {token.serial for token in self.library.get_tokens() if token.serial} - known
        self._places[serial.decode()] = made.name
        return str(serial.decode())

    def unplug(self, serial: str) -> None:
        """Take a token away."""
        (self.folder / self._places[serial]).rename(self.away / self._places[serial])
        self.read_again()

    def plug_in(self, serial: str) -> None:
        """Bring it back."""
        (self.away / self._places[serial]).rename(self.folder / self._places[serial])
        self.read_again()

    def session(self, serial: str) -> Any:
        """A session that may change the token, as its maker's tools have."""
        token = self.library.get_token(token_serial=serial.encode())
        return token.open(user_pin=PIN, rw=True)

    def close(self) -> None:
        """Let go of the library, so that the next test begins anew."""
        self.library.finalize()
