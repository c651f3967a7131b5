"""What stands in `anchorhold.toml`: a section a class; config_file.py reads it."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Machine = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")]
DeviceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
CONTAINERS = (
    "jsonl", "json", "table", "csv", "tsv", "xlsx", "parquet", "arrow", "transcript", "markdown", "text", "html", "pdf",
    "docx",
)  # fmt: skip
SHAPES = (
    "messages", "sharegpt", "alpaca", "prompt-completion", "text-label", "preference", "turns", "dialogue", "texts",
)  # fmt: skip
CHAT_LOGS = (
    "irc", "weechat", "whatsapp", "slack", "teams", "zoom", "names", "timed-names", "names-timed", "webvtt",
)  # fmt: skip
SKIP = "skip"
FORMATS = (*CONTAINERS, *SHAPES, *CHAT_LOGS, SKIP)
"""What `dataset.formats` may call a file: how it is written, what its objects are, whose chat log; or left out."""

ToolForm = Literal["cut", "text"]
"""What becomes of tool calls in chats: the conversation ends before the first, or they are written as text."""

QuantizationType = Literal["F16", "Q8_0", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "Q4_K"]

LANGUAGES = (
    "ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "hu", "it", "ja", "ko", "nl", "no", "pl",
    "pt", "ro", "ru", "sv", "th", "tr", "uk", "zh",
)  # fmt: skip
"""The languages that `dataset.filters.languages` may name."""

FOUR_BITS = ("Q4_0", "Q4_1", "IQ4_NL", "Q4_K")
SCALED_SCALES = ("Q4_K",)
"""Types whose rounding can't make up for its errors (convert/compensated.py), so that training has to."""
KEYS_AND_VALUES, DOWN = r"attn_[kv]\.", r"ffn_down\."
"""The GGUF names of the matrices that make attention's keys and values, and of those that close a feed-forward part."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_known(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"{name!r} is no {what}; {meant}")


class ProjectSection(_Section):
    """`[project]`: what this model is called and which release is next."""

    name: Name
    version: Version = "0.1.0"
    description: str = ""


class BaseSection(_Section):
    """`[base]`: the model to start from."""

    path: str = "embedded"
    """`embedded`, a Hugging Face folder (safetensors), or a GGUF file; relative to the project."""


Kind = Literal[
    "name", "address", "birth_date", "email", "phone", "card", "iban", "account", "national_id",
    "ip", "mac", "secret", "url",
]  # fmt: skip


class RedactSection(_Section):
    """`[dataset.redact]`: personal data in the examples (docs/formats/redaction.md)."""

    mode: Literal["off", "placeholder", "surrogate"] = "off"
    """`placeholder`: `[NAME_1]`; `surrogate`: a made-up value of the same form."""
    kinds: list[Kind] = [kind for kind in get_args(Kind) if kind != "url"]
    """A link is rarely somebody's own."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """What is less sure stays."""
    allow: list[str] = []
    """Values that stay, whatever their case."""
    allow_patterns: list[str] = []
    """Regular expressions; a value that one matches as a whole stays."""
    tagger: str = ""
    """A folder with a token classifier (safetensors) that finds more; relative to the project."""
    columns: dict[str, str] = {}
    """Columns (or keys of JSON rows) and the kind of what they hold, which is replaced whatever it looks like."""

    @field_validator("columns")
    @classmethod
    def _are_kinds(cls, columns: dict[str, str]) -> dict[str, str]:
        for kind in columns.values():
            _check_known(kind, get_args(Kind), "kind of personal data")
        return columns

    @field_validator("allow_patterns")
    @classmethod
    def _are_expressions(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class DuplicatesSection(_Section):
    """`[dataset.duplicates]`: rows that are nearly the same."""

    near: Literal["group", "drop", "ignore"] = "group"
    """`group`: kept, but never parted at the split; `drop`: one of those with the same answer stays."""
    threshold: float = Field(default=0.85, ge=0.5, le=1)
    """Jaccard similarity from which two rows are near."""


class QualitySection(_Section):
    """`[dataset.quality]`: which rows look bad."""

    score: bool = False
    """Score every row (build/dataset/quality.jsonl)."""
    drop_share: float = Field(default=0.0, ge=0, lt=1)
    """Leave out this share of the training rows, those that score worst."""


PairKind = Literal["turns", "qa", "cloze", "summary", "extract", "continue"]


class PairsSection(_Section):
    """`[dataset.pairs]`: rows made from transcripts and documents (docs/formats/pairs.md)."""

    kinds: list[PairKind] = list(get_args(PairKind))
    """What is made; an empty list makes nothing."""
    assistant: list[str] = []
    """Patterns of the names or roles whose turns are learnt, whatever their case; empty: guessed and said."""
    window: int = Field(default=6, ge=0, le=100)
    """Turns of context that a row takes along where a conversation is too long for one row."""
    gap_minutes: int = Field(default=120, ge=1)
    """A longer silence ends a conversation."""
    reply_turns: int = Field(default=30, ge=1, le=1000)
    """In a chat of many, an answer stands within so many turns of its question."""
    chatter: Literal["keep", "show", "drop"] = "show"
    """Exchanges off the project's topics: kept; kept and listed in chatter.jsonl; listed and left out."""
    boilerplate: Literal["keep", "drop"] = "drop"
    """Paragraphs that many documents share, and the headers and footers of pages."""
    passage_tokens: int = Field(default=300, ge=50, le=8192)
    """A passage of a document is about so long at most."""
    wordings: int = Field(default=2, ge=1, le=4)
    """How many wordings of a question are learnt."""
    hold_back: float = Field(default=0.1, ge=0, le=1)
    """Share of the facts of which one more wording is kept out of training, in held_back.jsonl."""
    writer: str = ""
    """A model that writes further questions and answers: a GGUF file, or `base`; empty: templates alone."""
    writer_pairs: int = Field(default=2, ge=1, le=16)
    """How many questions it is asked to write for a passage."""
    grounding: float = Field(default=0.8, ge=0, le=1)
    """Share of a written answer's words that its passage must hold."""


FilterSide = Literal["prompt", "answer"]


class FiltersSection(_Section):
    """`[dataset.filters]`: rows that are left out by language, length or what is wrong with them."""

    languages: list[str] = []
    """Codes (`en`, `de`) of the languages that stay; a text that is too short to tell stays too. Empty: all."""
    min_characters: dict[FilterSide, Annotated[int, Field(ge=0)]] = {}
    """The fewest characters of the last `prompt` or of the `answer`."""
    max_characters: dict[FilterSide, Annotated[int, Field(ge=1)]] = {}
    """And the most."""
    reject: list[Literal["echo", "refusal", "truncated"]] = []
    """Flawed answers that are left out; those that aren't named are kept and listed in flagged.jsonl."""

    @field_validator("languages")
    @classmethod
    def _are_known(cls, codes: list[str]) -> list[str]:
        for code in codes:
            _check_known(code, LANGUAGES, "language that is told apart")
        return codes


class DatasetSection(_Section):
    """`[dataset]`: where the examples are and how they are read."""

    sources: list[str] = Field(default=["data"], min_length=1)
    """Files, folders and glob patterns, relative to the project; of a folder all that lies below it."""
    test_sources: list[str] = []
    """Glob patterns of files that are the test split; then `sources` part 90/10 into training and validation."""
    system: str = ""
    """A system prompt put before every conversation that has none."""
    formats: dict[str, str] = {}
    """What files are, where their content would be taken for something else: a pattern and a name of `FORMATS`."""
    licences: dict[str, str] = {}
    """Under which licence files may be used: a pattern as in `formats` and its name (SPDX where there is one)."""
    prompt_column: str = ""
    answer_column: str = ""
    """The columns (or keys) that hold question and answer; empty: known by name, else guessed and said."""
    group_column: str = ""
    """Rows with the same value never part at the split; empty: the prompt itself is the group."""
    prompt_template: str = "{prompt}"
    """The user's turn made of columns, with `{column}` for any of them."""
    tools: ToolForm = "cut"
    """Chats with tool calls: `cut` before the first; `text`: definitions, calls and results in the turns' text."""
    schema_path: str = ""
    """A JSON Schema that every answer should satisfy; also used for the valid rate."""
    max_tokens: int = Field(default=1024, ge=16, le=32768)
    """Longer rows are named and left out."""
    limit: int = Field(default=0, ge=0)
    """Use at most this many training rows (0: all), chosen by hash."""
    conflicts: Literal["keep", "drop", "majority"] = "keep"
    """The same prompt with other answers: keep all, drop all, or keep the answer that most rows give."""
    canaries: int = Field(default=0, ge=0, le=10_000)
    """Rows with a random secret put into the training split, to measure later how much was memorised."""
    canary_seed: int = Field(default=7, ge=0)
    duplicates: DuplicatesSection = DuplicatesSection()
    quality: QualitySection = QualitySection()
    redact: RedactSection = RedactSection()
    pairs: PairsSection = PairsSection()
    filters: FiltersSection = FiltersSection()

    @field_validator("formats")
    @classmethod
    def _are_formats(cls, formats: dict[str, str]) -> dict[str, str]:
        for name in formats.values():
            _check_known(name, FORMATS, "format")
        return formats


class TrainingSection(_Section):
    """`[training]`: the recipe."""

    epochs: float = Field(default=2.0, gt=0, le=100)
    rank: int = Field(default=16, ge=1, le=512)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    modules: tuple[str, ...] = ()
    """The linear layers that learn, by their names in the base (`q_proj`, `v_proj`); empty: all of them.

    Fewer learn less, and make a release whose delta against another is small (`convert.like`).
    """
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    batch_rows: int = Field(default=16, ge=1, le=4096)
    grid_start: float | None = Field(default=None, ge=0, le=1)
    """Share of the steps after which the model is computed with the weights as they ship (`convert.type`); 1: never.

    Left out: 1, and 0.5 where rounding can't make up for its errors (`convert.rounding`; docs/decisions/0033).
    """
    grid_every: int = Field(default=8, ge=1)
    """Steps after which the shipping weights are rounded anew."""
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    evaluations: int = Field(default=4, ge=1)
    """How many times the validation loss is taken over the whole run."""
    validation_rows: int = Field(default=64, ge=1)
    """Take it on at most this many rows."""
    patience: int = Field(default=3, ge=1)
    """Stop after this many evaluations without an improvement; counted on the grid where there is one."""
    min_delta: float = Field(default=0.0, ge=0)
    tie: float = Field(default=0.05, ge=0, lt=1)
    """A validation loss up to this share above the lowest is as good: of two such adapters the later is kept."""
    seed: int = Field(default=7, ge=0)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is computed; `auto`: on a GPU if torch has one, in bfloat16, else on the CPU."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0: all cores this process may use."""
    shard: bool = False
    """Several processes (torchrun) each hold a part of the base's weights, for a base that doesn't fit into one."""

    @property
    def grid_from(self) -> float:
        """`grid_start`, a number."""
        return 1.0 if self.grid_start is None else self.grid_start


class ConvertSection(_Section):
    """`[convert]`: what ships."""

    type: QuantizationType | Literal["auto"] = "Q4_0"
    """`auto`: the smallest file that passes the gate (docs/formats.md, "frontier")."""
    embeddings: Literal["F16", "Q8_0", "Q4_0"] = "Q8_0"
    overrides: dict[str, QuantizationType] | None = None
    """Other types for some tensors: a regular expression over GGUF names (`ffn_down`, `blk\\.0\\.`) and a type.

    Left out, beside a type of four bits: keys and values in Q8_0, and where errors make up for each other the down
    projections in Q5_0 (docs/decisions/0009); {} for none.
    """
    rounding: Literal["auto", "gptq", "nearest"] = "auto"
    """`gptq`: errors make up for each other on training rows, in types of 32-wide blocks and four or five bits;
    `auto`: so, unless the training was on the grid already (`training.grid_start`)."""
    like: str = ""
    """A model of the same base, as `stick write --delta-from` takes it (a GGUF file, a release's folder, NAME@VERSION):
    matrices that don't learn (`training.modules`) are taken from it as they were rounded there."""
    gate: float = Field(default=0.99, gt=0, le=1)
    """Share of the 16-bit file's score that `auto` asks of what ships; taken on the validation rows."""

    @field_validator("overrides")
    @classmethod
    def _are_expressions(cls, overrides: dict[str, str] | None) -> dict[str, str] | None:
        for pattern in overrides or {}:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return overrides

    @model_validator(mode="after")
    def _go_together(self) -> ConvertSection:
        if self.type == "auto" and self.overrides:
            raise ValueError("overrides go with a type, and auto chooses its own")
        return self


class GatesSection(_Section):
    """`[evaluation.gates]`: what a release has to keep, beside the gates of its suites (docs/formats/suites.md)."""

    int4_drop: float = Field(default=0.1, ge=0, le=1)
    """How much smaller the shipped file's share of exact answers may be than the F16 file's, beyond noise."""
    int4_kl: float | None = Field(default=None, gt=0)
    """How far, in nats a token (Kullback-Leibler), an audit may find the shipped file from F16; left out: only told."""
    int4_top1: float | None = Field(default=None, ge=0, le=1)
    """Least share of tokens at which both find the same one the likeliest; left out: only told."""
    ended: float = Field(default=0.5, ge=0, le=1)
    """Least share of answers that end by themselves, beyond noise."""
    beats_base: bool = True
    """The tuned file must not be worse than the untuned base asked as well as a prompt allows."""
    canaries: float = Field(default=0.2, ge=0, le=1)
    """Where canaries were planted: the share of them that may be recalled, beyond noise."""


class EvaluationSection(_Section):
    """`[evaluation]`: how the shipped file is measured."""

    scorer: Literal["json", "exact"] = "json"
    shots: int = Field(default=3, ge=0, le=16)
    """Examples in the prompt of the few-shot baseline."""
    max_rows: int = Field(default=0, ge=0)
    """Score at most this many test rows (0: all), chosen by hash."""
    max_tokens: int = Field(default=256, ge=1, le=8192)
    baselines: bool = True
    """Also measure the untuned base, zero-shot and few-shot."""
    hold_to_schema: bool = True
    """Let the engine write only what fits `dataset.schema_path`, here and on the device; without a schema, nothing."""
    suites: list[str] = []
    """Suite files that `build` runs too, so that every release has to pass their gates: patterns, as in `sources`."""
    audit: Literal["optional", "required"] = "optional"
    """`required`: no release without an audit (`anchorhold audit`) of the very file that ships."""
    gates: GatesSection = GatesSection()


class ReleaseSection(_Section):
    """`[release]`: who signs, where the stick is, and what the model is asked before it may serve."""

    keys: str = "keys"
    stick: str = "stick"
    golden: int = Field(default=3, ge=1, le=32)
    """Test rows that become golden prompts (the answer of the shipped file is recorded)."""
    expires_days: int = Field(default=365, ge=1, le=3650)
    machines: list[Machine] = Field(default=[], max_length=256)
    """Kinds of machine that may install it, as `uname -m` names them; empty: any."""
    devices: list[DeviceId] = Field(default=[], max_length=256)
    """Ids of the devices that may install it (`anchorhold receipts identity` shows one); empty: any."""


class RetrievalSection(_Section):
    """`[retrieval]`: documents that travel with the release, to be looked up beside the model."""

    documents: list[str] = []
    """Files, folders or globs; empty: none travel."""
    top: int = Field(default=3, ge=1, le=20)
    """Passages shown to the model with a question, where so many fit."""
    on: bool = False
    """Whether the device looks things up without being asked to."""


class Config(_Section):
    """The whole of `anchorhold.toml`."""

    project: ProjectSection
    base: BaseSection = BaseSection()
    dataset: DatasetSection = DatasetSection()
    training: TrainingSection = TrainingSection()
    convert: ConvertSection = ConvertSection()
    evaluation: EvaluationSection = EvaluationSection()
    release: ReleaseSection = ReleaseSection()
    retrieval: RetrievalSection = RetrievalSection()

    @model_validator(mode="after")
    def _choose_grid(self) -> Config:
        if self.training.grid_start is None:
            plainly = self.convert.rounding == "nearest" or self.convert.type in SCALED_SCALES
            chosen = self.training.model_copy(update={"grid_start": 0.5 if plainly else 1.0})
            object.__setattr__(self, "training", chosen)  # frozen once it is whole
        return self

    @property
    def compensates(self) -> bool:
        """Whether rounding makes up for its errors, in types where it can."""
        if self.convert.rounding == "auto":
            return not self._on_grid
        return self.convert.rounding == "gptq"

    @property
    def _on_grid(self) -> bool:
        return self.training.grid_from < 1 and self.convert.type != "F16"

    def parts_of(self, kind: str) -> dict[str, str]:
        """The overrides of a file whose other matrices are of type `kind`."""
        if self.convert.overrides is not None:
            return dict(self.convert.overrides) if kind == self.convert.type else {}
        if kind not in FOUR_BITS:
            return {}
        parts = {KEYS_AND_VALUES: "Q8_0"}
        if self.compensates and kind not in SCALED_SCALES:
            parts[DOWN] = "Q5_0"
        return parts

    @property
    def grid(self) -> dict[str, Any] | None:
        """The quantization types that the training computes with; None where it stays off the grid that ships.

        Where the type is chosen after training, it is trained on the grid of the smallest.
        """
        if not self._on_grid:
            return None
        kind = "Q4_0" if self.convert.type == "auto" else self.convert.type
        parts = {} if self.convert.type == "auto" else self.parts_of(kind)
        return {"type": kind, "embeddings": self.convert.embeddings, "overrides": list(parts.items())}
