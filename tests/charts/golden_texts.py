"""The golden texts: `python -m tests.charts.golden_texts` writes them again.

redis-trial has every object; the others have what is new, otherwise or gone: for production against the trial
of the same broker, for a trial against that of Redis. Of new objects of a kind the first is in full, and each
other one as its difference to the one before. What a ConfigMap has of files is left out: another test compares
it with them.
"""

import sys
from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path

import yaml

from tests.charts.rendering import COMBINATIONS, Object, rendered, values

FOLDER = Path(__file__).parent / "golden"
_BASE = ("redis", "trial")
Texts = dict[tuple[str, str], str]


def golden(broker: str, environment: str) -> str:
    """The golden text of a broker's values, for trials or for production."""
    if (broker, environment) == _BASE:
        return _changes({}, _texts(*_BASE))
    base = (broker, "trial") if environment == "production" else _BASE
    return _changes(_texts(*base), _texts(broker, environment))


def path_of(broker: str, environment: str) -> Path:
    """Where a golden text lies."""
    return FOLDER / f"{broker}-{environment}.txt"


def _texts(broker: str, environment: str) -> Texts:
    return {(row["kind"], row["metadata"]["name"]): _text(row) for row in rendered(*values(broker, environment))}


def _text(row: Object) -> str:
    if row["kind"] == "ConfigMap":
        row = row | {"data": dict.fromkeys(row["data"], "…")}
    text: str = yaml.dump(row, Dumper=yaml.CSafeDumper, sort_keys=False, width=1000, allow_unicode=True)
    return text


def _changes(old: Texts, new: Texts) -> str:
    last: dict[str, str] = {}
    parts = []
    for (kind, name), text in new.items():
        base = old.get((kind, name)) or last.get(kind)
        if base != text:
            parts.append(f"# {kind} {name}\n{text if base is None else _difference(base, text)}")
        last[kind] = text
    return "\n".join([*parts, *_gone(old.keys() - new.keys())])


def _gone(keys: Iterable[tuple[str, str]]) -> list[str]:
    return [f"# gone: {kind} {name}\n" for kind, name in sorted(keys)]


def _difference(old: str, new: str) -> str:
    lines = [*unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)][2:]
    return "".join(f"{'@@' if line.startswith('@@') else line}\n" for line in lines)


if __name__ == "__main__":
    for combination in COMBINATIONS:
        path_of(*combination).write_text(golden(*combination), encoding="utf-8")
    sys.stdout.write(f"{len(COMBINATIONS)} golden texts in {FOLDER}\n")
