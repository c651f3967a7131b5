"""model.sig beside OpenSSF's own verifier, `model_signing`: installed for these tests, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.registry import signature
from tests.house.sources import ROOT
from tests.stick_simulator import flip_bit, make_release

# pyOpenSSL is imported by it, and named by nothing that pip reads.
PACKAGES = ("model-signing==1.1.1", "pyOpenSSL==25.3.0")
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def upstream() -> Path:
    """A Python that has it."""
    folder = ROOT / "build" / "peers" / "model-signing"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file() and done.read_text() == " ".join(PACKAGES):
        return python
    venv.create(folder, with_pip=True, clear=True)
    told = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        capture_output=True, text=True,
    )  # fmt: skip
    if told.returncode:
        if os.environ.get("CI"):
            pytest.fail(told.stderr)
        pytest.skip(f"needs a package index for {', '.join(PACKAGES)}")
    done.write_text(" ".join(PACKAGES))
    return python


def verified(python: Path, folder: Path, public: Path) -> subprocess.CompletedProcess[str]:
    command = ["-m", "model_signing", "verify", "key", str(folder), "--signature", str(folder / "model.sig")]
    return subprocess.run(
        [python, *command, "--public_key", str(public)], capture_output=True, text=True, timeout=120
    )


def public_file(folder: Path) -> Path:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    path = folder / "public.pem"
    path.write_bytes(KEY.public_key().public_bytes(encoding, form))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda f: flip_bit(f / "notes.gguf"),
        lambda f: (f / "more.py").write_text("print()"),
        lambda f: (f / "report.html").unlink(),
    ],
    ids=["another byte", "a file more", "a file less"],
)
def test_it_accepts_what_we_sign_and_refuses_what_was_changed(
    upstream: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = make_release(tmp_path / "release", "1.0.0", b"a model")
    signature.sign_folder(folder, KEY)
    public = public_file(tmp_path)
    good = verified(upstream, folder, public)
    assert good.returncode == 0 and "succeeded" in good.stdout + good.stderr, good
    change(folder)
    bad = verified(upstream, folder, public)
    assert bad.returncode != 0 and "failed" in bad.stdout + bad.stderr, bad


def test_it_refuses_another_key(upstream: Path, tmp_path: Path) -> None:
    folder = make_release(tmp_path / "release", "1.0.0", b"a model")
    signature.sign_folder(folder, ec.generate_private_key(ec.SECP256R1()))
    bad = verified(upstream, folder, public_file(tmp_path))
    assert bad.returncode != 0 and "failed" in bad.stdout + bad.stderr, bad
