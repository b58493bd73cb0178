"""The samples: each is short, is named in the README, and shows what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.samples.__main__ import main, names, run

CHECKOUT = Path(__file__).resolve().parents[2]
SHOWN = {
    "batches": ["sent 100, booked 4950", "not taken: 2", "publishing to 'readings': the broker is not available"],
    "constrained_agents": ["{'open': 35}", "{'open': 5}", "{'open': 0}"],
    "dead_letters": ["clerk: there is no form 'B'", "then handled: ['B']"],
    "delivery_modes": [
        "at most once: 1 tries, the first failed",
        "at least once: 2 tries, the first failed",
        "exactly once: 2 tries, the first failed",
    ],
    "encryption": ["read: all is well", "key 2026", "plain: False"],
    "event_notification": [
        "depot calls a lorry for {'pieces': 11}",
        "mailer confirms {'pieces': 1}",
        "mailer confirms {'pieces': 11}",
    ],
    "expiry": ["heard: ['sun']", "dead letters, since they expired: 2"],
    "guaranteed_delivery": ["printed 'a letter'", "printed 'a letter'", "on paper: ['a letter']"],
    "large_documents": ["kept 20,000,000 characters", "on the broker: a key"],
    "ordering": ["a0 a1 a2 a3 a4 a5 a6 a7 a8 a9", "b0 b1 b2 b3 b4 b5 b6 b7 b8 b9"],
    "presence": [
        "asked: offline - clean disconnect",
        "asked: online",
        "told: offline - clean disconnect",
        "told: online",
    ],
    "priorities": ["urgent: first urgent, CRITICAL, HIGH", "others: first, NORMAL, LOW, BACKGROUND"],
    "routing": [
        "chief gets HIGH {'task': 'analysis'}",
        "ann gets NORMAL {'task': 'analysis'}",
        "bob gets NORMAL {'task': 'analysis'}",
        "ann gets NORMAL {'task': 'analysis'}",
    ],
    "signatures": ["paid: ['10 crowns for ann']", "refused: UnverifiedError"],
    "telemetry": ["last: {'celsius': 22.0}", "mean of 3: 21.0"],
}


@pytest.mark.promise("MQT-08")
@pytest.mark.parametrize("name", SHOWN)
async def test_a_sample_shows_what_it_says_in_forty_lines(name: str) -> None:
    lines = await run(name)
    assert sorted(lines) == sorted(SHOWN[name])
    source = (CHECKOUT / "services" / "samples" / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 40
    assert f"services.samples {name}" in (CHECKOUT / "services" / "samples" / "README.md").read_text()


def test_every_sample_is_among_those_that_are_shown() -> None:
    assert names() == sorted(SHOWN)


def test_a_sample_is_a_command() -> None:
    command = [sys.executable, "-m", "services.samples", "telemetry"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == SHOWN["telemetry"]


def test_an_unknown_sample_is_refused_with_the_names_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weather"]) == 2
    assert "one of: batches, constrained_agents," in capsys.readouterr().err
