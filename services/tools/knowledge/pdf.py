"""PDF to blocks: the text of each page."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import PdfReadError

from services.tools.knowledge.blocks import Block, UnreadableError
from services.tools.knowledge.text import read_text

# What the library repairs is no news; what it cannot repair it raises.
logging.getLogger("pypdf").setLevel(logging.ERROR)


def read_pdf(content: bytes) -> list[Block]:
    """Blocks of a PDF, page by page; lines count within the text of the page.

    Raises UnreadableError for a file that is broken, locked with a password, or holds pictures of text only.
    """
    try:
        blocks = _pages(content)
    except Exception as error:
        # A broken file can make the library fail in any way.
        reason = str(error) if isinstance(error, PdfReadError) else f"{type(error).__name__}: {error}"
        raise UnreadableError(f"it is not a readable PDF ({reason})") from error
    if blocks is None:
        raise UnreadableError("it is locked with a password")
    if not blocks:
        raise UnreadableError("it holds no text, only pictures of it perhaps: run text recognition on it first")
    return blocks


def _pages(content: bytes) -> list[Block] | None:
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        return None
    return [
        block for number, page in enumerate(reader.pages, 1) for block in read_text(page.extract_text(), number)
    ]
