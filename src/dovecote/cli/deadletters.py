"""`dovecote dlq`: what consumers gave up, and what is to become of it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import JsonValue
from rich.console import Console

from dovecote.cli.checkout import gateway_address
from dovecote.cli.errors import CommandError, NotRunningError, report
from dovecote.cli.filtering import filtered
from dovecote.cli.gateway import Gateway
from dovecote.cli.letters import acted_line, letters_table, show_letter
from dovecote.cli.options import AsJson, GatewayUrl
from dovecote.deadletters import DeadLetterFilter, DeadLetterQuery, DeadLetterRow

T = TypeVar("T")
Act = Callable[[Gateway, str, str], Awaitable[DeadLetterRow]]

dlq = typer.Typer(
    help="Dead letters: list what consumers gave up, show why, hand it to them again, or discard it.",
    no_args_is_help=True,
)

Token = Annotated[str, typer.Option(envvar="APP_API_TOKEN", help="What apps demand of their callers, if they do.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of messages.")]
All = Annotated[bool, typer.Option("--all", help="All that fit the filters.")]


@dlq.command("ls")
@filtered
def ls(  # noqa: PLR0913, PLR0917 - the options of the command
    wanted: DeadLetterFilter,
    limit: Annotated[int, typer.Option(min=1, help="How many lines at most.")] = 50,
    everything: All = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
    token: Token = "",
) -> None:
    """List the dead letters that nobody has acted on, newest first."""
    rows = _asked(lambda client: _rows(client, wanted, None if everything else limit), gateway, token)
    if as_json:
        _print([row.model_dump(mode="json") for row in rows])
    elif rows:
        Console().print(letters_table(rows))
    else:
        sys.stdout.write("There is no dead letter that fits.\n")


@dlq.command("show")
def show(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id.")],
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
    token: Token = "",
) -> None:
    """Show a dead letter: the message, every reason with its traceback, and what was done with it."""
    letter = _asked(lambda client: client.dead_letter(message_id), gateway, token)
    if as_json:
        _print(letter.model_dump(mode="json"))
    else:
        show_letter(Console(), letter)


@dlq.command("resubmit")
@filtered
def resubmit(  # noqa: PLR0913, PLR0917 - the options of the command
    wanted: DeadLetterFilter,
    ids: Ids = None,
    everything: All = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
    token: Token = "",
) -> None:
    """Hand dead letters, with their ids, to the consumer that gave them up; status 1 if one is not handled."""

    def act(client: Gateway, message_id: str, consumer: str) -> Awaitable[DeadLetterRow]:
        return client.resubmit(message_id, consumer, wanted.topic or "")

    chosen = _chosen(ids, wanted, everything=everything)
    outcomes = _asked(lambda client: _act(client, chosen, act), gateway, token)
    _tell(outcomes, as_json=as_json)


@dlq.command("discard")
@filtered
def discard(  # noqa: PLR0913, PLR0917 - the options of the command
    wanted: DeadLetterFilter,
    ids: Ids = None,
    everything: All = False,
    why: Annotated[str, typer.Option(help="What is noted with them.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    as_json: AsJson = False,
    gateway: GatewayUrl = None,
    token: Token = "",
) -> None:
    """Give dead letters up for good; when and why is kept with each for 90 days."""

    def act(client: Gateway, message_id: str, consumer: str) -> Awaitable[DeadLetterRow]:
        return client.discard(message_id, consumer, why)

    chosen = _chosen(ids, wanted, everything=everything)
    targets = _asked(chosen, gateway, token)
    if targets and not yes:
        typer.confirm(f"Discard {len(targets)} for good?", abort=True, err=True)
    outcomes = _asked(lambda client: _act(client, _these(targets), act), gateway, token)
    _tell(outcomes, as_json=as_json)


Target = tuple[str, str]
Chosen = Callable[[Gateway], Awaitable[list[Target]]]


def _chosen(ids: Sequence[str] | None, wanted: DeadLetterFilter, *, everything: bool) -> Chosen:
    """What finds the letters that are meant, each by message and consumer: those named, or all that fit."""
    if bool(ids) == everything:
        raise typer.BadParameter("name ids, or --all and what filters them")
    if ids and wanted.model_dump(exclude={"consumer", "topic"}, exclude_none=True):
        raise typer.BadParameter("filters go with --all: of named ids only the consumer and the topic can be said")
    if ids:
        return _these([(one, wanted.consumer or "") for one in ids])

    async def find(client: Gateway) -> list[Target]:
        return [(row.id, row.consumer) for row in await _rows(client, wanted, None)]

    return find


def _these(targets: list[Target]) -> Chosen:
    async def given(_: Gateway) -> list[Target]:
        return targets

    return given


async def _rows(client: Gateway, wanted: DeadLetterFilter, limit: int | None) -> list[DeadLetterRow]:
    """The first rows that fit, newest first; all of them without a limit."""
    rows: list[DeadLetterRow] = []
    cursor: int | None = None
    while limit is None or len(rows) < limit:
        query = DeadLetterQuery(**wanted.model_dump(), limit=100, cursor=cursor)
        page = await client.dead_letters(query)
        rows += page.rows
        cursor = page.next
        if cursor is None:
            break
    return rows[:limit]


async def _act(client: Gateway, chosen: Chosen, act: Act) -> list[tuple[Target, DeadLetterRow | CommandError]]:
    outcomes: list[tuple[Target, DeadLetterRow | CommandError]] = []
    for target in await chosen(client):
        try:
            outcomes.append((target, await act(client, *target)))
        except NotRunningError:
            raise
        except CommandError as error:
            outcomes.append((target, error))
    return outcomes


def _tell(outcomes: Sequence[tuple[Target, DeadLetterRow | CommandError]], *, as_json: bool) -> None:
    """Print what became of each; status 1 if one was refused or is still open."""
    rows: list[JsonValue] = []
    failed = False
    for (message_id, consumer), outcome in outcomes:
        if isinstance(outcome, CommandError):
            failed = True
            rows.append({"id": message_id, "consumer": consumer, "refused": str(outcome), "mend": outcome.mend})
            if not as_json:
                report(outcome)
            continue
        failed |= outcome.state == "open"
        rows.append(outcome.model_dump(mode="json"))
        if not as_json:
            Console().print(acted_line(outcome), soft_wrap=True)
    if as_json:
        _print(rows)
    raise typer.Exit(1 if failed else 0)


def _asked(work: Callable[[Gateway], Awaitable[T]], gateway: str | None, token: str) -> T:
    """What work with the gateway gives."""

    async def ask(url: str) -> T:
        async with Gateway(url, token=token) as client:
            return await work(client)

    return asyncio.run(ask(gateway or gateway_address(Path.cwd())))


def _print(value: JsonValue) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
