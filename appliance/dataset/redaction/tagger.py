"""A token classifier that the builder brings: a checkpoint folder, read offline, weights from safetensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.dataset.redaction.spans import Span
from appliance.errors import ConfigError

# Labels of the well-known tag sets, less their B-, I- and the like.
_KINDS = {
    "PER": "name", "PERSON": "name", "NAME": "name", "FIRSTNAME": "name", "LASTNAME": "name", "GIVENNAME": "name",
    "SURNAME": "name", "MIDDLENAME": "name", "PATIENT": "name", "DOCTOR": "name", "USERNAME": "name",
    "ADDRESS": "address", "STREET": "address", "STREET_ADDRESS": "address", "STREETADDRESS": "address",
    "BUILDINGNUM": "address", "BUILDINGNUMBER": "address", "ZIPCODE": "address", "ZIP": "address",
    "ZIP_CODE": "address",
    "SECONDARYADDRESS": "address", "EMAIL": "email", "EMAIL_ADDRESS": "email", "PHONE": "phone",
    "PHONE_NUMBER": "phone",
    "PHONENUMBER": "phone", "TELEPHONENUM": "phone", "TEL": "phone", "CREDITCARD": "card", "CREDIT_CARD": "card",
    "CREDITCARDNUMBER": "card", "IBAN": "iban", "IBAN_CODE": "iban", "ACCOUNTNUM": "account",
    "ACCOUNTNUMBER": "account",
    "ACCOUNT_NUMBER": "account", "SSN": "national_id", "US_SSN": "national_id", "SOCIALNUM": "national_id",
    "IDCARDNUM": "national_id", "PASSPORT": "national_id", "PASSPORTNUM": "national_id",
    "DRIVERLICENSENUM": "national_id",
    "TAXNUM": "national_id", "ID": "national_id", "DOB": "birth_date", "DATEOFBIRTH": "birth_date",
    "BIRTHDATE": "birth_date",
    "IP": "ip", "IP_ADDRESS": "ip", "IPV4": "ip", "IPV6": "ip", "MAC": "mac", "PASSWORD": "secret", "SECRET": "secret",
    "API_KEY": "secret", "URL": "url",
}  # fmt: skip
_WINDOW, _OVERLAP = 384, 64  # tokens of one pass over a long text


@dataclass(frozen=True)
class CheckpointTagger:
    """A tagger of tokens with a fast tokenizer.

    Attributes:
        model, tokenizer: transformers' own.
        kinds: by label number, the kind that it stands for; labels of other things are missing.
        window: tokens of one pass.
    """

    model: Any
    tokenizer: Any
    kinds: dict[int, str]
    window: int

    @classmethod
    def load(cls, folder: Path) -> CheckpointTagger:
        """Read a Hugging Face folder: config, safetensors, tokenizer. No code of the folder's is run.

        Raises:
            ConfigError: no token classifier, no fast tokenizer, or none of its labels is a kind of personal data.
        """
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        where = f"dataset.redact.tagger: {folder}"
        try:
            options = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
            model = AutoModelForTokenClassification.from_pretrained(
                str(folder), use_safetensors=True, **options
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{where}: {str(error).splitlines()[0]}",
                "name a folder with a token classifier in safetensors",
            ) from error
        if not tokenizer.is_fast:
            raise ConfigError(
                f"{where}: its tokenizer tells no character positions", "it needs a tokenizer.json"
            )
        kinds = {
            int(number): _KINDS[plain]
            for number, label in model.config.id2label.items()
            if (plain := _plain(str(label))) in _KINDS
        }
        if not kinds:
            labels = ", ".join(map(str, model.config.id2label.values()))
            raise ConfigError(f"{where}: no label of personal data among {labels}", "name another tagger")
        if not getattr(model.config, "is_causal", True):
            for (
                module
            ) in model.modules():  # without padding its layers would go by their own word and look back only
                if hasattr(module, "is_causal"):
                    module.is_causal = False
        model.eval()
        longest = int(getattr(model.config, "max_position_embeddings", _WINDOW + 2)) - 2
        return cls(model, tokenizer, kinds, max(8, min(_WINDOW, longest)))

    def __call__(self, text: str) -> Sequence[Span]:
        """Spans of what the model tags, a run of one kind as one span; the score is the mean of its tokens'."""
        import torch

        if not text.strip():
            return []
        encoded = self.tokenizer(
            text,
            return_offsets_mapping=True,
            return_overflowing_tokens=True,
            truncation=True,
            max_length=self.window,
            stride=min(_OVERLAP, self.window // 4),
            return_tensors="pt",
            padding=True,
        )
        with torch.inference_mode():
            logits = self.model(
                input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
            ).logits
        scores, labels = logits.float().softmax(-1).max(-1)
        tagged: dict[tuple[int, int], tuple[str, float]] = {}
        for window in range(len(labels)):
            for (start, end), label, score in zip(
                encoded["offset_mapping"][window].tolist(),
                labels[window].tolist(),
                scores[window].tolist(),
                strict=True,
            ):
                kind = self.kinds.get(label)
                if kind and end > start and score > tagged.get((start, end), ("", 0.0))[1]:
                    tagged[start, end] = (kind, score)
        return _joined(text, tagged)


def _plain(label: str) -> str:
    head, dash, tail = label.upper().partition("-")
    return tail if dash and len(head) == 1 else label.upper()


def _joined(text: str, tagged: dict[tuple[int, int], tuple[str, float]]) -> list[Span]:
    """Neighbouring tokens of one kind put together, with the blanks between them; blanks at the edges go."""
    spans: list[Span] = []
    run: list[tuple[int, int, float]] = []
    kind = ""
    for (start, end), (its, score) in [*sorted(tagged.items()), ((len(text) + 9, len(text) + 9), ("", 0.0))]:
        if run and (its != kind or text[run[-1][1] : start].strip() or start > len(text)):
            first, last = run[0][0], run[-1][1]
            first += len(text[first:last]) - len(text[first:last].lstrip())
            last -= len(text[first:last]) - len(text[first:last].rstrip())
            if first < last:
                mean = sum(entry[2] for entry in run) / len(run)
                spans.append(Span(first, last, kind, round(mean, 3), "the tagger says so"))
            run = []
        kind = its
        run.append((start, end, score))
    return spans
