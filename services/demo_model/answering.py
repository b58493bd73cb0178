"""Answering: sentences quoted from the material with their sources, values as computed, failures as reported."""

import re

from services.demo_model.arithmetic import without_arithmetic
from services.demo_model.material import Material
from services.demo_model.plain import sentences
from services.demo_model.ranking import best_quotes
from services.demo_model.words import stems

MAX_QUOTES = 3
_TROUBLE = re.compile(r"\b(?:failed|could not|unavailable)\b", re.IGNORECASE)
_NO_ANSWER = "The documents do not answer this question."
_NO_REST = "The documents do not answer the rest of the question."
_NO_MATERIAL = "There is nothing to answer from: no tool fits the question, and the prompt holds no notes."


def answer_from_tools(question: str, material: Material) -> str:
    """Answer from what the tools returned; says where that does not answer the question, or a tool failed."""
    parts = [f"{value}." for value in material.values]
    quoted = _quotes(question, material)
    parts += quoted
    failed = [f"The tool {failure.tool!r} failed: {failure.reason.rstrip('.')}." for failure in material.failures]
    if not parts and failed:
        return f"The question could not be answered. {' '.join(failed)}"
    if not quoted and (material.passages or not failed) and stems(without_arithmetic(question)):
        parts.append(_NO_REST if parts else _NO_ANSWER)
    return " ".join([*parts, *failed]) or _NO_ANSWER


def answer_from_notes(question: str, material: Material) -> str:
    """Answer from the notes in a prompt: values and labelled sentences, or else what the notes say."""
    quoted = _quotes(question, material)
    said = [found.text for passage in material.passages if not passage.source for found in sentences(passage.text)]
    if quoted:
        said = [sentence for sentence in said if _TROUBLE.search(sentence) and sentence not in quoted]
    parts = [*(f"{value}." for value in material.values), *quoted, *said[:MAX_QUOTES]]
    return " ".join(parts) or (_NO_ANSWER if material else _NO_MATERIAL)


def _quotes(question: str, material: Material) -> list[str]:
    asked = without_arithmetic(question)
    found = best_quotes(asked, list(material.passages), MAX_QUOTES)
    return [f"{quote.text} [{quote.source}]" if quote.source else quote.text for quote in found]
