"""Prompts: the question, the notes and the draft that a user message holds, by the headings people give them."""

import json
import re
from dataclasses import dataclass
from typing import Any

from services.demo_model.notes import without_closing
from services.demo_model.wire import json_or_none

# The first that fits a heading decides: "Notes on the question" are notes.
_PARTS = (
    ("draft", re.compile(r"\b(?:draft|report|text to (?:review|check)|proposed answer)\b", re.IGNORECASE)),
    ("remarks", re.compile(r"\b(?:remarks|comments|feedback|review|instructions)\b", re.IGNORECASE)),
    (
        "notes",
        re.compile(
            r"\b(?:notes|findings|material|passages?|evidence|sources|context|results|facts)\b", re.IGNORECASE
        ),
    ),
    ("question", re.compile(r"\b(?:question|query|task|topic|request)\b", re.IGNORECASE)),
    ("draft", re.compile(r"^(?:the |an? )?(?:answer|article|text)$", re.IGNORECASE)),
)
_HEADING = re.compile(
    r"^[ \t]*(?P<marks>#{1,6}[ \t]+)?[*_]{0,2}(?P<head>[A-Za-z][A-Za-z' ]{0,60}?)[*_]{0,2}[ \t]*"
    r"(?:(?P<colon>:)[*_]{0,2}[ \t]*(?P<rest>.*)|)$"
)
_TAG = re.compile(
    r"</?(question|query|task|notes|material|context|sources|passages|findings|draft|answer|report)>", re.IGNORECASE
)
_MAX_QUESTION = 4000
_MAX_INLINE_WORDS = 2
_MAX_HEADING_WORDS = 7


@dataclass(frozen=True)
class Prompt:
    """What a user message asks; notes and draft are empty where it has none."""

    question: str
    notes: str = ""
    draft: str | None = None


def read_prompt(text: str) -> Prompt:
    """Parts of a user message: of a JSON object by its keys, of a text by its headings or paragraphs."""
    text = without_closing(text).strip()
    value = json_or_none(text)
    parts = _by_keys(value) if isinstance(value, dict) else _by_headings(text)
    if not parts.keys() & {"notes", "draft"} and not isinstance(value, dict):
        first, _, rest = text.partition("\n\n")
        has_notes = "[" in rest
        question = parts.get("question") or (first if has_notes else text)
        return Prompt(question.strip()[:_MAX_QUESTION], rest if has_notes else "")
    question = (parts.get("question") or parts.get("", "")).strip()
    draft = parts["draft"].strip() if "draft" in parts else None
    return Prompt(question[:_MAX_QUESTION], parts.get("notes", "").strip(), draft)


def _by_keys(value: dict[str, Any]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for key, item in value.items():
        part = _part(key.replace("_", " ")) or "notes"
        shown = item if isinstance(item, str) else json.dumps(item)
        parts[part] = f"{parts[part]}\n\n{shown}" if part in parts else shown
    return parts


def _by_headings(text: str) -> dict[str, str]:
    text = _TAG.sub(lambda tag: "\n" if tag[0].startswith("</") else f"\n{tag[1]}:\n", text)
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        heading = _HEADING.match(line)
        part = _heading_part(heading) if heading else None
        if heading and part:
            current = part
            parts.setdefault(current, []).append(heading["rest"])
        else:
            parts[current].append(line)
    return {part: "\n".join(lines) for part, lines in parts.items()}


def _heading_part(heading: re.Match[str]) -> str | None:
    words = len(heading["head"].split())
    if heading["rest"]:
        known = bool(heading["colon"]) and words <= _MAX_INLINE_WORDS
    else:
        known = bool(heading["colon"] or heading["marks"]) and words <= _MAX_HEADING_WORDS
    return _part(heading["head"]) if known else None


def _part(head: str) -> str | None:
    return next((part for part, pattern in _PARTS if pattern.search(head.strip())), None)
