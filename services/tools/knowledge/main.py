"""Knowledge: finds passages in the documents of a folder."""

from typing import Annotated

from pydantic import Field

from dovecote import Call, Tools
from services.contracts.documents import IndexReport, SearchResult
from services.tools.knowledge.library import Library

tools = Tools("knowledge", capabilities=["search"])
library = Library()


@tools.tool(read_only=True)
async def search(query: str, call: Call, limit: Annotated[int, Field(ge=1, le=50)] = 5) -> SearchResult:
    """Passages of the documents that bear on a query, best first.

    The query is words to look for, such as "install on linux".
    """
    passages = await library.search(call.metadata.get("docs"), query, limit, call.progress)
    return SearchResult(passages=passages)


@tools.tool(read_only=True)
async def index(call: Call) -> IndexReport:
    """Bring the index of the documents up to date, and report which documents cannot be read, and why."""
    return await library.index(call.metadata.get("docs"), call.progress)


app = tools.app
