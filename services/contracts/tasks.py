"""The question that a task is about, and the answer that comes out."""

from typing import Annotated

from pydantic import BaseModel, StringConstraints

from dovecote import Source


class Question(BaseModel):
    """A question over documents."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Answer(BaseModel):
    """The answer to a question: the text, the passages that it cites, and what the reviewer said of it."""

    text: str
    citations: list[Source]
    review: str
    unreadable: list[str] = []
