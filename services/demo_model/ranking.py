"""Ranking of sentences by what they have in common with a question."""

import math
import re
from collections import Counter
from dataclasses import dataclass

from services.demo_model.notes import Passage
from services.demo_model.plain import Sentence, sentences
from services.demo_model.words import names, stems, tokens

_TOUCHING_SHARE = 0.4
_KNOWN_SHARE, _KNOWN_LEAST = 0.6, 2
_CONTEXT_WEIGHT = 0.3
_GOOD_ENOUGH = 0.6
_WORTH_ADDING = 0.35
_TOO_SIMILAR = 0.6
_FEW_WORDS, _MANY_WORDS = 5, 40
_DEFINITION_REACH = 6
_POINTING = re.compile(r"(?:it|this|these|they|that|those|he|she|such|then|but|and|so|also)\b", re.IGNORECASE)
_DEFINITION_ASKED = re.compile(r"\b(?:what|who)\s+(?:is|are|was|were)\b|\bdefine\b", re.IGNORECASE)
_DEFINES = re.compile(r"\b(?:is|are|was|were|means|refers to|provides|lets|allows)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Quote:
    """A sentence worth quoting, its source, and how well it fits (comparable within one ranking only)."""

    text: str
    source: str
    score: float


def best_quotes(question: str, passages: list[Passage], limit: int) -> list[Quote]:
    """The `limit` sentences that answer the question best, best first; none where none touches it."""
    asked = stems(question)
    weights = _weights(asked, passages)
    strangers = _strangers(question, passages)
    ranked: list[Quote] = []
    for place, passage in enumerate(passages):
        if passage.trust == "certain" or (passage.trust == "chosen" and not asked):
            ranked += [Quote(found.text, passage.source, math.inf) for found in sentences(passage.text)]
        elif _touches(asked, passage, strangers):
            ranked += _scored(question, weights, passage, 1 - min(place, 10) * 0.03)
    best = _different(sorted(ranked, key=lambda quote: -quote.score), weights, limit)
    # Notes come in the order that whoever took them thought best.
    return sorted(best, key=ranked.index) if any(passage.trust == "chosen" for passage in passages) else best


def _weights(asked: list[str], passages: list[Passage]) -> dict[str, float]:
    """Weight of each word asked for: the rarer in the material, the heavier."""
    units = [set(stems(found.text)) for passage in passages for found in sentences(passage.text)]
    counts = Counter(word for unit in units for word in unit)
    return {word: math.log(1 + (len(units) + 1) / (1 + counts[word])) for word in asked}


def _strangers(question: str, passages: list[Passage]) -> set[str]:
    """Words of the names in the question, where no passage knows any of them: then it is about something else."""
    named = set(stems(" ".join(names(question))))
    return set() if any(named & _held(passage) for passage in passages) else named


def _touches(asked: list[str], passage: Passage, strangers: set[str]) -> bool:
    shared = len(_held(passage) & set(asked))
    if passage.trust == "chosen" or not shared:
        return bool(shared)
    if strangers:
        return shared >= max(_KNOWN_LEAST, _KNOWN_SHARE * (len(asked) - len(strangers)))
    return shared >= math.ceil(_TOUCHING_SHARE * len(asked))


def _held(passage: Passage) -> set[str]:
    return set(stems(f"{passage.heading}\n{passage.text}\n{passage.source}"))


def _scored(question: str, weights: dict[str, float], passage: Passage, trust: float) -> list[Quote]:
    quotes = []
    heading, opens = re.split(r"\s*[>\u203a/|]\s+", passage.heading)[-1].strip(), True
    for found in sentences(passage.text):
        if found.kind == "heading":
            heading, opens = found.text.rstrip("."), True
            continue
        own = set(stems(found.text))
        context = set(stems(f"{passage.heading} {heading} {passage.source}")) - own
        direct = sum(weight for word, weight in weights.items() if word in own)
        around = sum(weight for word, weight in weights.items() if word in context)
        text = found.text
        if not direct and opens and weights.keys() & set(stems(heading)):
            # "Three attempts." says nothing by itself; "Retry policy: Three attempts." does.
            text = f"{heading}: {found.text}"
        if direct or text is not found.text:
            score = (direct + _CONTEXT_WEIGHT * around) * _form(question, found, weights) * trust
            quotes.append(Quote(text, passage.source, score))
        opens = False
    return quotes


def _form(question: str, found: Sentence, weights: dict[str, float]) -> float:
    """Factor for how well the sentence reads when it stands alone."""
    words = tokens(found.text)
    factor = 1.0
    if found.kind == "code":
        factor *= 0.25
    if found.text.endswith(":"):
        factor *= 0.4
    if found.text.endswith("?"):
        factor *= 0.3
    if len(words) < _FEW_WORDS:
        factor *= 0.6
    if len(words) > _MANY_WORDS:
        factor *= _MANY_WORDS / len(words)
    if _POINTING.match(found.text):
        factor *= 0.8
    if _DEFINITION_ASKED.search(question) and _DEFINES.search(found.text):
        start = set(stems(" ".join(words[:_DEFINITION_REACH])))
        factor *= 1.5 if start & weights.keys() else 1.0
    return factor


def _different(ranked: list[Quote], weights: dict[str, float], limit: int) -> list[Quote]:
    """The best, and those after it that are nearly as good or add a word of the question, without repetition."""
    kept: list[Quote] = []
    covered: set[str] = set()
    for quote in ranked:
        held = set(stems(quote.text))
        repeats = any(
            len(held & other) > _TOO_SIMILAR * len(held | other) for other in (set(stems(k.text)) for k in kept)
        )
        news = (held & weights.keys()) - covered
        least = (_WORTH_ADDING if news else _GOOD_ENOUGH) * kept[0].score if kept else 0
        if repeats or quote.score < least:
            continue
        kept.append(quote)
        covered |= held & weights.keys()
        if len(kept) == limit:
            break
    return kept
