"""What the suite is made of: its behaviours, and the transports over which each of them is run."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from dovecote.testing import MEMORY
from dovecote.topics import Capabilities, read_capabilities

CHECKOUT: Final = Path(__file__).resolve().parents[2]
_CAPABILITIES: Final = CHECKOUT / "components" / "capabilities.yaml"


def transports() -> dict[str, Capabilities]:
    """What each transport can do, by its name: the ports in memory, and each broker with a row."""
    rows = [read_capabilities(_CAPABILITIES, kind) for kind in yaml.safe_load(_CAPABILITIES.read_text())]
    return {row.broker: row for row in (MEMORY, *rows)}


def behaviours() -> dict[str, str]:
    """The sentence of each behaviour, by its key, in the order of the files."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        found |= {
            key_of(name): sentence_of(test) for name, test in vars(module).items() if name.startswith("test_")
        }
    return found


def key_of(test: str) -> str:
    """The key of a behaviour, which is the name of its test without `test_`."""
    return test.removeprefix("test_")


def sentence_of(test: Callable[..., Any]) -> str:
    """What a test says of its behaviour."""
    sentence = inspect.getdoc(test) or ""
    assert sentence, f"{test.__name__} has no docstring, which is its row of the table"
    return " ".join(sentence.split()).removesuffix(".")
