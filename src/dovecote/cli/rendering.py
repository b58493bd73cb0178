"""What the command shows: steps as they happen, answers, tables. Plain lines where there is no terminal."""

import json
from collections.abc import Iterable

from pydantic import BaseModel, JsonValue
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from dovecote.cli.checking import Check
from dovecote.cli.importing import Account
from dovecote.directory import Presence
from dovecote.results import Source, Step, TaskEvent, TaskResult

_LONGEST_ARGUMENT = 60
_LONGEST_QUOTE = 100


class Answer(BaseModel):
    """What is shown of a task's answer; a plan may answer with less, or with something else."""

    text: str
    citations: list[Source] = []
    review: str = ""
    unreadable: list[str] = []


class Story:
    """Tells the events of a task as they happen: a line when something is done, a spinner for what goes on now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._lead = ""

    def tell(self, event: TaskEvent) -> None:
        """Show one event."""
        if event.kind == "step":
            plain(self._console, _done(Step.model_validate(event.data)))
        elif event.id == f"{event.task_id}.task.started":
            self._lead = event.agent
        elif event.kind == "progress":
            self.note(f"  {event.agent}: {event.text}")
        elif event.kind == "started" and event.agent == self._lead:
            # What an agent starts gets a line when it is done; whom the orchestrator asks only says so now.
            plain(self._console, event.text)
        self._now(event.text)

    def note(self, text: str) -> None:
        """Show that something is in the way."""
        plain(self._console, Text(text, style="yellow"))

    def end(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _now(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        self._status.update(Text(text))


def show_answer(console: Console, result: TaskResult) -> None:
    """Print the answer of a completed task: text, citations, steps, cost."""
    answer = _answer(result.answer)
    plain(console, "")
    plain(console, answer.text)
    if answer.citations:
        plain(console, "")
        plain(console, "Sources")
        for source in answer.citations:
            plain(console, f"  {source.source}  {shortened(source.text, _LONGEST_QUOTE)}")
    for problem in answer.unreadable:
        plain(console, Text(f"Not read: {problem}", style="yellow"))
    plain(console, "")
    console.print(_steps_table(result.steps))
    plain(console, _cost(result))


def agents_table(apps: Iterable[Presence]) -> Table:
    """A row for each app: name, kind, state, replicas, what it can do, the functions of a tool."""
    table = table_of("Name", "Kind", "State", "Replicas", "Capabilities", "Functions")
    for app in apps:
        # What one replica has twice, such as a door to tools of others, is shown once.
        can = dict.fromkeys(one for row in app.replicas for one in row.capabilities if one != app.app_id)
        functions = dict.fromkeys(tool.name for row in app.replicas for tool in row.tools)
        cells = [app.app_id, app.kind, app.state, str(len(app.replicas)), ", ".join(can), ", ".join(functions)]
        table.add_row(*cells)
    return table


def accounts_table(accounts: Iterable[Account]) -> Table:
    """A row for each key of a file that was imported: what became of it, and where it is or why not."""
    table = table_of("Key", "Value", "Became", "Where, or why not")
    for account in accounts:
        table.add_row(*map(Text, (account.key, account.value, account.outcome, account.text)))
    for column in (table.columns[0], table.columns[2]):
        column.no_wrap = True
    return table


def show_checks(console: Console, checks: Iterable[Check]) -> None:
    """Print a line for each check, and the mend below what is wrong."""
    for check in checks:
        line = Text("ok       ", style="green") if check.ok else Text("problem  ", style="red")
        line.append(f"{check.name}: {check.text}", style="default")
        if check.mend:
            line.append(f"\n         mend: {check.mend}", style="default")
        plain(console, line)


def _answer(value: JsonValue) -> Answer:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return Answer.model_validate(value)
    return Answer(text=value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _done(step: Step) -> Text:
    line = Text(f"  {step.agent:<12} {_what(step)}  ")
    line.append(_cost_of(step), style="dim")
    if step.error:
        line.append(f"  {step.error}", style="red")
    return line


def _what(step: Step) -> str:
    arguments = step.arguments if isinstance(step.arguments, dict) else {}
    shown = ", ".join(
        f"{name}={shortened(json.dumps(value, ensure_ascii=False))}" for name, value in arguments.items()
    )
    return f"{step.name}({shown})" if step.kind == "tool" else step.name


def _cost_of(step: Step) -> str:
    tokens = f", {step.usage.tokens:,} tokens" if step.usage.tokens else ""
    return f"{step.seconds:.2f} s{tokens}"


def _steps_table(steps: Iterable[Step]) -> Table:
    table = table_of("Who", "What", "Seconds", "Tokens")
    for step in steps:
        what = f"{step.name}: {step.error}" if step.error else step.name
        table.add_row(
            step.agent, what, f"{step.seconds:.2f}", f"{step.usage.tokens:,}" if step.usage.tokens else ""
        )
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _cost(result: TaskResult) -> str:
    usage = result.usage
    took = "" if result.seconds is None else f"{result.seconds:.1f} s, "
    calls = f"{usage.model_calls} model call{'' if usage.model_calls == 1 else 's'}"
    return (
        f"{took}{calls}, {usage.tokens:,} tokens ({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out)"
        f"  task {result.task_id}"
    )


def table_of(*columns: str) -> Table:
    """A table without lines, with these columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def shortened(text: str, longest: int = _LONGEST_ARGUMENT) -> str:
    """A text on one line, of so many characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plain(console: Console, text: Text | str) -> None:
    """Print a text as it is."""
    # No markup: a label such as [README.md:1-9] would be taken for a style.
    console.print(text, markup=False, highlight=False, soft_wrap=True)
