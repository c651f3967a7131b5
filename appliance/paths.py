"""Where things lie: one class for a builder's project, one for a device. No other module spells these names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance import config


@dataclass(frozen=True)
class Project:
    """A builder's project folder (docs/formats.md, "project")."""

    root: Path
    config: config.Config

    @classmethod
    def open(cls, root: Path) -> Project:
        """Read the project at `root`.

        Raises:
            ConfigError: no configuration there, or a wrong one.
        """
        from appliance import (
            config_file,  # pydantic: a fifth of a second that a list of releases doesn't wait for
        )

        root = root.resolve()
        return cls(root, config_file.load(root / config_file.FILE_NAME))

    @property
    def build(self) -> Path:
        """Everything that can be made again."""
        return self.root / "build"

    @property
    def dataset(self) -> Path:
        """train.jsonl, valid.jsonl, test.jsonl, card.json."""
        return self.build / "dataset"

    @property
    def written_pairs(self) -> Path:
        """What a model has written for pairs, and its log; kept, so that nothing is asked twice."""
        return self.build / "dataset-pairs"

    @property
    def redaction_key(self) -> Path:
        """The secret that surrogates come from; made when redaction is first on, never shipped."""
        return self.root / "redaction.key"

    @property
    def redaction_decisions(self) -> Path:
        """What a person decided of redaction's findings, JSON lines."""
        return self.root / "redaction-decisions.jsonl"

    @property
    def redaction_missed(self) -> Path:
        """Personal data that no rule found, JSON lines; its owner's alone, never shipped."""
        return self.root / "redaction-missed.jsonl"

    @property
    def training(self) -> Path:
        """adapter/, checkpoint/, curve.jsonl, curve.svg, training.json."""
        return self.build / "training"

    @property
    def adapter(self) -> Path:
        """The best adapter, in peft's format."""
        return self.training / "adapter"

    @property
    def model(self) -> Path:
        """The converted files and convert.json."""
        return self.build / "model"

    def gguf(self, quantization: str) -> Path:
        """The GGUF of one quantization type."""
        return self.model / f"{self.config.project.name}-{quantization.lower()}.gguf"

    @property
    def evaluation(self) -> Path:
        """results.json, answers.jsonl, report.html."""
        return self.build / "evaluation"

    @property
    def suites(self) -> Path:
        """Suites of the project's own (docs/formats/suites.md)."""
        return self.root / "suites"

    @property
    def audit(self) -> Path:
        """audit.json, gates.json, report-card.html, and what was asked."""
        return self.build / "audit"

    @property
    def waivers(self) -> Path:
        """Gates that somebody answers for, signed, JSON lines."""
        return self.root / "waivers.jsonl"

    @property
    def passages(self) -> Path:
        """The index of the documents that travel with the release."""
        return self.build / "passages.sqlite"

    @property
    def release(self) -> Path:
        """release.json and the files that it lists."""
        return self.build / "release"

    @property
    def keys(self) -> Path:
        """Signing keys, encrypted."""
        return self.root / self.config.release.keys

    @property
    def stick(self) -> Path:
        """The stick's folder."""
        return self.root / self.config.release.stick

    @property
    def own(self) -> tuple[Path, ...]:
        """The project's own files and folders below its root, which are never examples, whether they are there or not.

        What the configuration names outside of the root, or as the root itself, isn't among them.
        """
        from appliance.config_file import FILE_NAME

        config = self.config
        named = [folder for folder in (config.base.path, config.dataset.redact.tagger) if folder]
        places = (
            self.root / FILE_NAME,
            self.build,
            self.redaction_key,
            self.redaction_decisions,
            self.redaction_missed,
            self.suites,
            self.waivers,
            self.keys,
            self.stick,
            *(self.root / folder for folder in named),
        )
        root = self.root.resolve()
        return tuple(place for place in places if root in place.resolve().parents)

    @property
    def state(self) -> Path:
        """Digests of each finished stage's inputs and outputs."""
        return self.build / "state.json"

    @property
    def events(self) -> Path:
        """All progress events, JSON lines."""
        return self.build / "events.jsonl"


def cache_folder() -> Path:
    """Where things made from packages are kept between projects: `$ANCHORHOLD_CACHE`, else the user's cache folder."""
    override = os.environ.get("ANCHORHOLD_CACHE")
    if override:
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "anchorhold"


def state_folder() -> Path:
    """Where the user's own state is kept (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "anchorhold"


def registry_folder() -> Path:
    """Where the workshop's user keeps releases: `$ANCHORHOLD_REGISTRY`, else among the user's data (XDG)."""
    override = os.environ.get("ANCHORHOLD_REGISTRY")
    if override:
        return Path(override)
    return (
        Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "anchorhold" / "registry"
    )


DEFAULT_DEVICE_ROOT = Path("/var/lib/anchorhold")


@dataclass(frozen=True)
class Device:
    """A device's folder (docs/formats.md, "device root")."""

    root: Path

    @classmethod
    def default(cls) -> Device:
        """`$ANCHORHOLD_ROOT`, else /var/lib/anchorhold."""
        return cls(Path(os.environ.get("ANCHORHOLD_ROOT", str(DEFAULT_DEVICE_ROOT))))

    @property
    def looked(self) -> Path:
        """Which installed files were found whole; may be deleted at any time."""
        return self.root / "looked.json"

    @property
    def site(self) -> Path:
        """The site that the device belongs to, if it was told one."""
        return self.root / "trust" / "site.json"

    @property
    def trusted_root(self) -> Path:
        """The pinned root of trust (TUF root metadata)."""
        return self.root / "trust" / "root.json"

    @property
    def metadata(self) -> Path:
        """Newest verified TUF metadata."""
        return self.root / "trust" / "metadata"

    @property
    def ledger(self) -> Path:
        """Folder of the version ledger's two copies."""
        return self.root / "trust"

    @property
    def identity(self) -> Path:
        """The device's id and the key that signs its receipts."""
        return self.root / "identity"

    @property
    def objects(self) -> Path:
        """Installed files by digest."""
        return self.root / "objects"

    @property
    def slots(self) -> Path:
        """Which release is active, which is retained."""
        return self.root / "slots.json"

    @property
    def run(self) -> Path:
        """Sockets and process ids."""
        return self.root / "run"

    @property
    def absent(self) -> bool:
        """True where this machine is no device: nobody named a folder, and the default one isn't there."""
        return self.root == DEFAULT_DEVICE_ROOT and not self.root.is_dir()

    @property
    def gateway_socket(self) -> Path:
        """The gateway's Unix socket; in the user's runtime folder where this machine is no device."""
        if not self.absent:
            return self.run / "gateway.sock"
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        return (Path(runtime) if runtime else state_folder()) / "anchorhold.sock"

    @property
    def log(self) -> Path:
        """Device log files."""
        return self.root / "log"

    @property
    def history(self) -> Path:
        """The TUI's conversations (SQLite); among the user's own state where the device's folder is another's."""
        writable = os.access(self.root, os.W_OK)
        return (self.root if writable else state_folder()) / "history.sqlite"

    @property
    def corrections(self) -> Path:
        """What operators said of answers; among the user's own state where the device's folder is another's."""
        writable = os.access(self.root, os.W_OK)
        return (self.root / "watch" if writable else state_folder()) / "corrections.jsonl"

    @property
    def redteam(self) -> Path:
        """Runs of the red team; among the user's own state where the device's folder is another's."""
        writable = os.access(self.root, os.W_OK)
        return (self.root / "watch" if writable else state_folder()) / "redteam"

    @property
    def watch(self) -> Path:
        """What is watched of the release at work, and an operator's wish to begin it anew."""
        return self.root / "watch"

    @property
    def response_cache(self) -> Path:
        """Answers to deterministic requests (SQLite)."""
        return self.root / "cache.sqlite"

    @property
    def api_keys(self) -> Path:
        """Hashed API keys for TCP."""
        return self.root / "api-keys.json"

    @property
    def lock(self) -> Path:
        """Held by the one installer."""
        return self.root / "install.lock"
