"""Which files are documents, and how each kind is read."""

import codecs
from collections.abc import Callable
from pathlib import PurePath

from bs4.dammit import EncodingDetector

from services.tools.knowledge.blocks import Block, UnreadableError
from services.tools.knowledge.html import read_html
from services.tools.knowledge.markdown import read_markdown
from services.tools.knowledge.pdf import read_pdf
from services.tools.knowledge.text import read_text

_READERS: dict[str, Callable[[str], list[Block]]] = {
    ".htm": read_html,
    ".html": read_html,
    ".markdown": read_markdown,
    ".md": read_markdown,
    ".rst": read_text,
    ".text": read_text,
    ".txt": read_text,
    ".xhtml": read_html,
}


def is_document(name: str) -> bool:
    """Whether a file of that name is one that `read` reads, by its suffix."""
    suffix = PurePath(name).suffix.lower()
    return suffix in _READERS or suffix == ".pdf"


def read(name: str, content: bytes) -> list[Block]:
    """Blocks of a document with that name and those bytes.

    Raises UnreadableError with the reason when it is broken, no text, or in an encoding that it does not declare.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".pdf":
        return read_pdf(content)
    reader = _READERS[suffix]
    text = _decode(content, declared=reader is read_html)
    if "\0" in text:
        raise UnreadableError("it holds zero bytes: it is no text")
    try:
        return reader(text.replace("\r\n", "\n").replace("\r", "\n"))
    except RecursionError as error:
        raise UnreadableError("it is nested too deeply") from error


def _decode(content: bytes, *, declared: bool) -> str:
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif declared:
        encoding = EncodingDetector.find_declared_encoding(content, is_html=True) or encoding
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise UnreadableError(f"it declares the encoding {encoding!r}, which is unknown") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"it is not {error.encoding} text (byte {content[error.start]:#04x} on line {line})"
        raise UnreadableError(f"{text}: save it as UTF-8") from error
