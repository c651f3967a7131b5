"""A device without a disk: a key, a log, and receipts that a test can shape as no honest device would."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import storage
from appliance.trust import chain, receipt
from appliance.trust.chain import BEGIN, Link

TIME = "2026-11-20T00:00:00Z"
LATER = "2026-11-21T00:00:00Z"


class SignedDevice:
    """A device.

    Args:
        name: 32 hex digits.
    """

    def __init__(self, name: str = "0123456789abcdef" * 2) -> None:
        self.id = name
        self.private = Ed25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes_raw().hex()
        self.lines: list[bytes] = []

    def link(self, number: int) -> Link:
        """The place with a number."""
        return Link(number, storage.sha256_bytes(self.lines[number - 1])) if number else BEGIN

    def logged(self, count: int, event: str = "tried", **data: Any) -> SignedDevice:
        """Log so many more entries."""
        for _ in range(count):
            number = len(self.lines)
            told = {"number": number + 1, **data}
            self.lines.append(chain.encode(self.id, self.link(number), TIME, event, told))
        return self

    def receipt(
        self,
        *,
        after: int = 0,
        last: int | None = None,
        head: int | None = None,
        time: str = TIME,
        private: Ed25519PrivateKey | None = None,
        **changed: Any,
    ) -> bytes:
        """A receipt of entries `after` + 1 to `last`, signed by `private`; `changed` goes into its statement."""
        end = len(self.lines)
        last, head = end if last is None else last, end if head is None else head
        body = b"".join(line + b"\n" for line in self.lines[after:last])
        manifest = {
            "device": self.id,
            "time": {"known": time, "machine": time, "source": "the machine's clock"},
        }
        line = receipt.statement_of(manifest, self.link(after), self.link(last), self.link(head), body)
        if changed:
            value = chain.canonical_object(line, len(line))
            line = storage.canonical_json({**value, **changed})
        signature = (private or self.private).sign(receipt.signed_bytes(line)).hex()
        return receipt.encode(self.id, self.public, signature, line, body)
