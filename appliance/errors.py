"""Every error that a user can meet, and the exit code that each one ends in.

    AnchorholdError
    ├── UsageError            the command line or a path on it is wrong
    ├── ConfigError           anchorhold.toml: all faults at once
    ├── DataError             rows that can't be read or learnt from
    ├── ModelError            a base model, adapter or GGUF that can't be used
    │   └── ConversionError   converting it failed
    ├── TrainingError         training can't start or had to stop (NaN, nothing to learn)
    ├── EvaluationError       the shipped file can't be measured
    ├── GateError             what was measured isn't good enough to be released, and nobody answers for it
    ├── TrustError            a signature, digest, version or expiry that isn't right
    │   ├── ReceiptError      a device's receipt that isn't taken, and of which kind that is
    │   └── KeysError         a key can't be made, found or used
    │       ├── PassphraseError   a passphrase that opens none of the keys
    │       ├── PinError          a wrong PIN of a hardware token
    │       ├── TokenError        a hardware token that isn't there or can't do what is asked
    │       └── ThresholdError    too few signatures yet; nothing was published
    ├── UpdateError           a stick or release that can't be installed; the old one stays
    │   └── InstalledBaseError   a delta can't be used: the file that it is made against isn't here, or isn't intact
    ├── ServingError          the engine or gateway can't start or answer
    └── StorageError          the disk said no (space, permissions); nothing half-written stays

Each carries a message (what is wrong, and where) and a hint (what to do next).
"""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """What `anchorhold` exits with. Documented in docs/handbook.md."""

    OK = 0
    INTERNAL = 1  # a fault of ours: please report it
    USAGE = 2  # wrong option, argument or path
    CONFIG = 3  # anchorhold.toml is wrong
    DATA = 4  # the rows are wrong
    MODEL = 5  # base, adapter or GGUF is wrong
    TRAINING = 6  # training stopped with a reason
    EVALUATION = 7  # measuring failed
    TRUST = 8  # not signed, not by whom it should be, changed, too old
    UPDATE = 9  # install refused or undone; the old release still serves
    SERVING = 10  # engine or gateway
    STORAGE = 11  # no space, no permission
    GATE = 12  # measured, and not good enough to be released
    ALARM = 13  # what is watched became worse; nothing is broken
    PASSPHRASE = 14  # a passphrase that opens no key, or a wrong PIN
    SIGNATURES = 15  # more people have to sign; nothing was published yet
    INTERRUPTED = 130  # stopped by the user (Ctrl-C); run again to resume


class AnchorholdError(Exception):
    """Base of all errors of the product.

    Args:
        message: what is wrong and where, one line.
        hint: what to do next, one line; may be empty.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AnchorholdError):
    """The command line, or a path on it, is wrong."""

    exit_code = ExitCode.USAGE


class ConfigError(AnchorholdError):
    """anchorhold.toml is wrong; `message` lists every fault."""

    exit_code = ExitCode.CONFIG


class DataError(AnchorholdError):
    """Rows that can't be read or learnt from."""

    exit_code = ExitCode.DATA


class ModelError(AnchorholdError):
    """A base model, adapter or GGUF that can't be used."""

    exit_code = ExitCode.MODEL


class ConversionError(ModelError):
    """Converting a model failed; no output was left behind."""


class TrainingError(AnchorholdError):
    """Training can't start or had to stop."""

    exit_code = ExitCode.TRAINING


class EvaluationError(AnchorholdError):
    """The shipped file can't be measured."""

    exit_code = ExitCode.EVALUATION


class GateError(AnchorholdError):
    """A gate failed and isn't waived; `message` lists each with its bound and figure."""

    exit_code = ExitCode.GATE


class TrustError(AnchorholdError):
    """A signature, digest, version or expiry that isn't right."""

    exit_code = ExitCode.TRUST


class ReceiptError(TrustError):
    """A device's receipt that isn't taken; nothing of it is kept but why, and what proves it.

    Args:
        message: what is wrong with it, one line.
        hint: what to do next.
        kind: of what is wrong (`trust.receipt.Refusal`).
        entry: number of the entry of the log at which it shows; 0 where it is at none.
    """

    def __init__(self, message: str, hint: str = "", *, kind: str, entry: int = 0) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.entry = entry


class KeysError(TrustError):
    """A key can't be made, found or used."""


class PassphraseError(KeysError):
    """A passphrase that opens none of the keys that are needed."""

    exit_code = ExitCode.PASSPHRASE


class PinError(KeysError):
    """A wrong PIN of a hardware token. Never tried again by the program: a few lock the token."""

    exit_code = ExitCode.PASSPHRASE


class TokenError(KeysError):
    """A hardware token, or what it takes to reach it, isn't there, or it can't do what is asked."""


class ThresholdError(KeysError):
    """Too few signatures yet; `message` says how many are missing and whose. Nothing was published."""

    exit_code = ExitCode.SIGNATURES


class UpdateError(AnchorholdError):
    """A stick or release that can't be installed; what was installed stays."""

    exit_code = ExitCode.UPDATE


class InstalledBaseError(UpdateError):
    """A delta can't be used: the installed file that it is made against isn't here, or isn't intact."""


class ServingError(AnchorholdError):
    """The engine or the gateway can't start or answer."""

    exit_code = ExitCode.SERVING


class StorageError(AnchorholdError):
    """The disk said no; nothing half-written stays."""

    exit_code = ExitCode.STORAGE


def from_os_error(error: OSError) -> AnchorholdError:
    """The product's error for an `OSError` that nobody nearer could explain."""
    where = f" ({error.filename})" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(
            f"no space left on the disk{where}", "free some space and run the same command again"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageError(
            f"{reason}{where}", "check who owns the folder and whether it is mounted read-only"
        )
    return StorageError(f"{reason}{where}", "run again with -v for the details")


def as_product_error(error: Exception) -> AnchorholdError:
    """The product's error for any exception that reached the edge of a program."""
    if isinstance(error, AnchorholdError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, MemoryError):
        return StorageError("out of memory", "close other programs, or use a smaller model or batch")
    name = type(error).__name__
    return AnchorholdError(
        f"a fault of the program: {name}: {error}",
        "run again with -v and report what it prints; nothing was lost",
    )
