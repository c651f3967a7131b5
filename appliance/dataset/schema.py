"""The JSON Schema that answers should satisfy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.dataset.cleaning import BadConversation
from appliance.errors import ConfigError


@dataclass(frozen=True)
class AnswerSchema:
    """A JSON Schema, read and itself checked.

    Attributes:
        value: the schema.
        validator: jsonschema's validator for its draft.
    """

    value: dict[str, Any]
    validator: Any

    @classmethod
    def load(cls, path: Path) -> AnswerSchema:
        """Read the schema at `path`.

        Raises:
            ConfigError: missing, broken or no schema.
        """
        import jsonschema

        where = f"dataset.schema_path: {path}"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            kind = jsonschema.validators.validator_for(value, default=jsonschema.Draft202012Validator)
            kind.check_schema(value)
        except OSError as error:
            raise ConfigError(
                f"{where}: {error.strerror}", "name a JSON Schema file, or leave it empty"
            ) from error
        except ValueError as error:
            raise ConfigError(f"{where}: broken JSON: {error}", "mend the file") from error
        except jsonschema.SchemaError as error:
            raise ConfigError(f"{where}: not a JSON Schema: {error.message}", "mend the file") from error
        # A registry without a retriever: a `$ref` elsewhere must fail, not go to the network.
        import referencing

        return cls(value, kind(value, registry=referencing.Registry()))

    def fault(self, value: Any) -> str:
        """The first thing wrong with `value`, or empty when it satisfies the schema."""
        for error in self.validator.iter_errors(value):
            where = error.json_path.removeprefix("$").lstrip(".") or "the answer"
            message = error.message if len(error.message) < 200 else error.message[:200] + "…"
            return f"{where}: {message}"
        return ""

    def check_answer(self, answer: str) -> None:
        """Refuse an answer that is no JSON or doesn't satisfy the schema.

        Raises:
            BadConversation: with the first thing wrong.
        """
        if fault := self.answer_fault(answer):
            raise BadConversation("schema", f"the answer {fault}")

    def answer_fault(self, answer: str) -> str:
        """What is wrong with an answer's text: no JSON, or against the schema; empty when nothing is."""
        try:
            value = json.loads(answer)
            fault = self.fault(value)
        except RecursionError:
            return "is JSON that is nested too deeply"
        except ValueError as error:
            return f"is no JSON: {error}"
        return f"breaks the schema: {fault}" if fault else ""
