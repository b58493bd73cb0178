"""Verdicts: a draft judged by its notes, where the instructions ask for one word or another."""

import re
from dataclasses import dataclass

from services.demo_model.material import from_notes
from services.demo_model.notes import passages_in, values_in, without_closing
from services.demo_model.plain import sentences
from services.demo_model.prompt import read_prompt
from services.demo_model.words import tokens

_QUOTES = r"[\"'`*“”\u2018\u2019]*"
_ALTERNATIVES = re.compile(
    rf"\b(?P<first>[A-Z]{{2,}})\b{_QUOTES}(?::?\s*<[^>]*>|:)?{_QUOTES}\s*,?\s*(?:\bor\b|/|\|)\s*"
    rf"(?:(?:with|by|else)\s+)?{_QUOTES}(?P<second>[A-Z]{{2,}})\b"
)
_ASKS = re.compile(
    r"\b(?:reply|answer|respond|start|begin|say|return|write|decide|output|verdict|judge|give|end)\w*\b",
    re.IGNORECASE,
)
_POSITIVE = re.compile(r"(?:APPROV|ACCEPT|PASS|YES|OK|GOOD|VALID|KEEP|TRUE|CORRECT|PUBLISH|SHIP|SUPPORTED|CONFIRM)")
_NEGATIVE = re.compile(
    r"(?:REVIS|REJECT|FAIL|NO|BAD|INVALID|DISCARD|FALSE|INCORRECT|CHANGE|UNSUPPORTED|REDO|RETRY|DENY|FIX)"
)
_LEAD = 160


@dataclass(frozen=True)
class Verdict:
    """The two words that a verdict may start with."""

    positive: str
    negative: str


def verdict_asked(instructions: str) -> Verdict | None:
    """The words the instructions ask a verdict to start with, or None where they ask for none."""
    for match in _ALTERNATIVES.finditer(instructions):
        first, second = match["first"], match["second"]
        asks = _ASKS.search(instructions[max(0, match.start() - _LEAD) : match.start()])
        if not asks:
            continue
        if _NEGATIVE.match(first) or (_POSITIVE.match(second) and not _POSITIVE.match(first)):
            return Verdict(second, first)
        if _POSITIVE.match(first) or _NEGATIVE.match(second):
            return Verdict(first, second)
    return None


def judge(verdict: Verdict, users: list[str]) -> str:
    """Verdict on the draft in the user messages: every sentence with a label must stand in the notes."""
    prompts = [read_prompt(text) for text in users]
    drafts = [prompt.draft for prompt in prompts if prompt.draft is not None]
    notes = "\n\n".join(prompt.notes for prompt in prompts if prompt.notes)
    draft = without_closing(drafts[-1] if drafts else users[-1] if users else "").strip()
    if not re.search(r"[^\W_]", draft):
        return f"{verdict.negative}: the draft is empty."
    cited = _cited(draft)
    if cited and not notes:
        return f"{verdict.negative}: there are no notes to check the draft against."
    held = _held(notes)
    for sentence, label in cited:
        if not any(form in words for words in held for form in _forms(sentence)):
            return f"{verdict.negative}: the notes do not hold the sentence {sentence!r}, which cites [{label}]."
        if label not in notes:
            return f"{verdict.negative}: the notes do not name the source [{label}]."
    if not cited:
        return f"{verdict.positive}: the draft cites nothing that the notes would have to hold."
    return f"{verdict.positive}: the notes hold every cited sentence ({len(cited)})."


def _cited(draft: str) -> list[tuple[str, str]]:
    _, prose = values_in(draft)
    found = [(sentences(passage.text), passage.source) for passage in passages_in(prose) if passage.source]
    return [(quoted[-1].text, label) for quoted, label in found if quoted]


def _held(notes: str) -> list[str]:
    """Words of the notes as they stand, and as they read without their markup."""
    material = from_notes(notes)
    plain = [
        " ".join([passage.heading, *(found.text for found in sentences(passage.text))])
        for passage in material.passages
    ]
    return [_spaced(text) for text in [notes, *(passage.text for passage in material.passages), *plain]]


def _forms(sentence: str) -> list[str]:
    return [_spaced(sentence), _spaced(" ".join(found.text for found in sentences(sentence)))]


def _spaced(text: str) -> str:
    return f" {' '.join(tokens(text))} "
