"""Scorers, a small file each: pure functions from a case and what the model said (or finds likely) to numbers."""

from appliance.evaluation.scoring.answer_loss import ANSWER_LOSS
from appliance.evaluation.scoring.choosing import BBQ, CHOICE, SWAP
from appliance.evaluation.scoring.fidelity import FIDELITY, compared
from appliance.evaluation.scoring.fields_and_labels import JSON_FIELDS, LABEL
from appliance.evaluation.scoring.matching import CONTAINS, EXACT, REGEX
from appliance.evaluation.scoring.memory import EXPOSURE, GAP, RECALL
from appliance.evaluation.scoring.overlap import CHRF, FREE_TEXT, ROUGE_L
from appliance.evaluation.scoring.paired import PAIR, PERPLEXITY
from appliance.evaluation.scoring.personal import PERSONAL
from appliance.evaluation.scoring.refusing import ABSTENTION, REFUSAL
from appliance.evaluation.scoring.scorer import (
    MOST_COUNT,
    AnswerScorer,
    CaseScore,
    Compared,
    Continuation,
    EmbeddingScorer,
    FidelityScorer,
    Key,
    LikelihoodScorer,
    Likeness,
    Metric,
    Said,
    Scorer,
)
from appliance.evaluation.scoring.semantic import SEMANTIC
from appliance.evaluation.scoring.slots import SLOT_SWAP
from appliance.evaluation.scoring.steadiness import STEADY
from appliance.evaluation.scoring.style import STYLE
from appliance.evaluation.scoring.style_distance import STYLE_DISTANCE

SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        EXACT, JSON_FIELDS, LABEL, ROUGE_L, CHRF, FREE_TEXT, SEMANTIC, REGEX, CONTAINS, REFUSAL, ABSTENTION, STYLE,
        STYLE_DISTANCE, STEADY, RECALL, PERSONAL, CHOICE, BBQ, SWAP, PAIR, PERPLEXITY, ANSWER_LOSS, GAP, EXPOSURE,
        SLOT_SWAP, FIDELITY,
    )
}  # fmt: skip

__all__ = [
    "MOST_COUNT",
    "SCORERS",
    "AnswerScorer",
    "CaseScore",
    "Compared",
    "Continuation",
    "EmbeddingScorer",
    "FidelityScorer",
    "Key",
    "LikelihoodScorer",
    "Likeness",
    "Metric",
    "Said",
    "Scorer",
    "compared",
]
