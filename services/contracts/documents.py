"""What is said about documents: passages found in them, and what an index run did."""

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Passage(_Frozen):
    """A few lines of one document, with all that is needed to cite them."""

    source: str = Field(description="Citation: guide/setup.md:10-14, or manual.pdf#page=3:1-9 in a PDF.")
    file: str = Field(description="Path of the document within its folder, with forward slashes.")
    first_line: int = Field(ge=1, description="First line of the passage; in a PDF, of its page's text.")
    last_line: int = Field(ge=1, description="Last line of the passage, included.")
    page: int | None = Field(default=None, ge=1, description="Page, in a PDF only.")
    heading: str = Field(description="Headings the passage stands under, outermost first: Setup > Linux.")
    text: str = Field(description="The passage as it is written in the document.")
    score: float = Field(description="How well it fits the query: higher is better, of use only to compare.")


class SearchResult(_Frozen):
    """Passages that bear on a query, best first."""

    passages: list[Passage]


class Unreadable(_Frozen):
    """A document that is not in the index, and why."""

    file: str
    reason: str


class IndexReport(_Frozen):
    """What an index run found and did."""

    files: int = Field(description="Documents in the index now.")
    passages: int = Field(description="Passages in the index now.")
    added: int
    changed: int
    removed: int
    unchanged: int
    unreadable: list[Unreadable]
    seconds: float
