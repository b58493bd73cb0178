"""`dovecote retries`: a retry policy becomes the policy `inbound` of a Resiliency file; each key is accounted for.

Source: agent-operating-system-messaging.md, section 6.1. Dapr's Resiliency takes `duration` of a constant policy,
`maxInterval` of an exponential one, and `maxRetries` of both; where an exponential one starts, and by what it
grows, is Dapr's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dovecote.cli.errors import CommandError
from dovecote.cli.importing import Account

RESILIENCY: Final = Path("components", "shared", "resiliency.yaml")
_PATH: Final = ("spec", "policies", "retries", "inbound")
_START: Final = 0.5  # seconds
_FACTOR: Final = 1.5
_LASTS: Final = 900.0  # seconds after which an exponential policy ends, however many retries are left
_OURS: Final = frozenset({"policy", "duration", "maxInterval", "maxRetries"})


@dataclass(frozen=True)
class RetryPolicy:
    """How often a message is tried in all, and how long the pauses are; `initial_delay` is in seconds."""

    max_attempts: int
    initial_delay: float
    backoff_multiplier: float

    @property
    def settings(self) -> dict[str, str | int]:
        """The policy as a Resiliency file has it."""
        retries = self.max_attempts - 1
        if self.backoff_multiplier == 1:
            return {"policy": "constant", "duration": _duration(self.initial_delay), "maxRetries": retries}
        return {"policy": "exponential", "maxInterval": _duration(self._longest), "maxRetries": retries}

    def pauses(self) -> Iterator[float]:
        """The seconds between the attempts as Dapr makes them, before it spreads them."""
        constant = self.backoff_multiplier == 1
        pause = self.initial_delay if constant else _START
        for _ in range(1, self.max_attempts):
            yield pause
            pause = pause if constant else min(pause * _FACTOR, self._longest)

    def accounts(self, noticed: float) -> Iterator[Account]:
        """What becomes of each key; `noticed` is after how many seconds a sidecar knows that its app is away."""
        settings, total = self.settings, sum(self.pauses())
        constant = self.backoff_multiplier == 1
        attempts = f"maxRetries: {settings['maxRetries']}, after the first attempt; about {total:.3g} s in all"
        if total > _LASTS and not constant:
            attempts += f", of which Dapr takes {_LASTS:g}"
        if total < noticed:
            attempts += (
                f". An app that is away is noticed after {noticed:g} s: what comes to it before is a dead letter"
            )
        yield Account("max_attempts", str(self.max_attempts), "mapped", attempts)
        if constant:
            yield Account("initial_delay", f"{self.initial_delay:g}", "mapped", f"duration: {settings['duration']}")
            yield Account("backoff_multiplier", "1", "mapped", "policy: constant")
            return
        yield _fixed("initial_delay", self.initial_delay, _START, f"the first pause is {_START:g} s")
        most = settings["maxInterval"]
        grows = f"each pause is {_FACTOR:g} times the one before, spread by half; maxInterval: {most}"
        yield _fixed("backoff_multiplier", self.backoff_multiplier, _FACTOR, grows)

    def written(self, text: str, name: str) -> str:
        """A Resiliency file with this policy, all else as it is; CommandError, naming the file, if it is none."""
        try:
            expected = yaml.safe_load(text)
            retries = _found(expected, _PATH[:-1])
            kept = {key: value for key, value in retries[_PATH[-1]].items() if key not in _OURS}
            retries[_PATH[-1]] = {**self.settings, **kept}
            made = _replaced(text, retries[_PATH[-1]])
            if yaml.safe_load(made) != expected:
                raise ValueError(f"{_PATH[-1]} is not written as a block of its own")  # noqa: TRY301 - one way out
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise CommandError(
                f"{name}: no Resiliency whose {'.'.join(_PATH)} can be changed: {' '.join(str(error).split())}",
                mend=f"write it as {RESILIENCY} of a fresh checkout does",
            ) from error
        return made

    @property
    def _longest(self) -> float:
        pauses = max(self.max_attempts - 2, 0)
        return min(self.initial_delay * self.backoff_multiplier**pauses, _LASTS)


def noticed_after(checkout: Path) -> float:
    """Seconds after which a sidecar of a checkout knows that its app is away."""
    common = yaml.safe_load((checkout / "dapr.yaml").read_text(encoding="utf-8"))["common"]
    return float(common["appHealthProbeInterval"] * common["appHealthThreshold"])


def _fixed(key: str, wanted: float, dapr: float, text: str) -> Account:
    """The account of what Dapr cannot be told: it is as it should be, or not."""
    return Account(key, f"{wanted:g}", "as it is" if wanted == dapr else "not settable", text)


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _found(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value[key]
    return value


def _replaced(text: str, policy: dict[str, Any]) -> str:
    """The text with another block of settings where the policy's stands; comments elsewhere stay."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in _PATH:
        node = next(value for name, value in node.value if name.value == key)
    begin, last = node.start_mark, node
    while isinstance(last, yaml.MappingNode) and last.value:
        last = last.value[-1][1]  # a block itself ends only where what follows it begins
    lines = yaml.safe_dump(policy, sort_keys=False).splitlines()
    return text[: begin.index] + f"\n{' ' * begin.column}".join(lines) + text[last.end_mark.index :]
