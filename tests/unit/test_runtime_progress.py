import threading

import pytest

from deploy.local.progress import Progress, duration
from tests.support.watched_output import WatchedOutput


@pytest.fixture
def output() -> WatchedOutput:
    return WatchedOutput()


def plain(output: WatchedOutput, interval: float = 10) -> Progress:
    return Progress(output.console(), interval)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (12.4, "12 s"), (59.6, "1 min 00 s"), (605, "10 min 05 s")]
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_short_step_leaves_one_line(output: WatchedOutput) -> None:
    with plain(output).step("Reading") as step:
        step.update(1, 2, "pages")
    assert output.lines == ["Reading: done in 0.0 s"]


def test_a_long_step_has_a_line_at_its_start_now_and_then_and_at_its_end(output: WatchedOutput) -> None:
    with plain(output, interval=0.01).step("Building") as step:
        output.wait_for("Building ...\n")
        step.update(3, 40, "packages")
        output.wait_for("Building: 3/40 packages, 0.")
        step.update(4)
        output.wait_for("Building: 4/40 packages, 0.")
        step.update(detail="packages, linking")
        output.wait_for("Building: 4/40 packages, linking, 0.")
    assert output.lines[0] == "Building ..."
    assert output.lines[-1].startswith("Building: done in 0.")


def test_a_step_that_says_nothing_still_shows_that_it_lasts(output: WatchedOutput) -> None:
    with plain(output, interval=0.01).step("Building"):
        output.wait_for("Building: 0.0 s")


def test_a_step_that_raises_is_said_to_have_failed(output: WatchedOutput) -> None:
    with pytest.raises(ValueError, match="no"), plain(output).step("Reading"):
        raise ValueError("no")
    assert output.lines == ["Reading: failed after 0.0 s"]


def test_an_interrupted_step_is_said_to_have_stopped(output: WatchedOutput) -> None:
    with pytest.raises(KeyboardInterrupt), plain(output).step("Reading"):
        raise KeyboardInterrupt
    assert output.lines == ["Reading: stopped after 0.0 s"]


def test_a_terminal_shows_every_running_step_and_keeps_their_ends(output: WatchedOutput) -> None:
    progress = Progress(output.console(terminal=True))
    with progress.step("Starting") as outer:
        outer.update(1, 3)
        output.wait_for("Starting: 1/3, ")
        with progress.step("Reading") as inner:
            inner.update(detail="page 7")
            output.wait_for("Reading: page 7, ")
        progress.note("[note] as it is")
    text = output.getvalue()
    assert "[note] as it is\n" in text
    assert text.index("Reading: done in") < text.index("Starting: done in")


def test_steps_of_several_threads_share_the_terminal(output: WatchedOutput) -> None:
    progress = Progress(output.console(terminal=True))
    both = threading.Barrier(2)

    def work(title: str) -> None:
        with progress.step(title):
            both.wait(10)
            output.wait_for(title)

    threads = [threading.Thread(target=work, args=(title,)) for title in ("Left", "Right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert "Left: done in" in output.getvalue()
    assert "Right: done in" in output.getvalue()


def test_what_a_note_says_is_not_taken_for_markup(output: WatchedOutput) -> None:
    plain(output).note("[bold]x[/bold] " + "y" * 300)
    assert output.lines == ["[bold]x[/bold] " + "y" * 300]
