"""The commands, as Typer reads them from the functions' signatures."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml
from dotenv import dotenv_values, load_dotenv
from rich.console import Console

from dovecote.cli import launcher
from dovecote.cli.argentic import read_file, read_format
from dovecote.cli.asking import Inquiry, answer
from dovecote.cli.checking import check_all, check_gateway
from dovecote.cli.checkout import find_checkout, gateway_address, recorded_apps
from dovecote.cli.deadletters import dlq
from dovecote.cli.errors import CommandError, NotRunningError, StoppedError, report
from dovecote.cli.gateway import Gateway
from dovecote.cli.importing import Account, Import
from dovecote.cli.keys import new_lines
from dovecote.cli.options import AsJson, GatewayUrl
from dovecote.cli.rendering import accounts_table, agents_table, show_checks
from dovecote.cli.retries import RESILIENCY, RetryPolicy, noticed_after
from dovecote.cli.tailing import Tail, as_json, as_line
from dovecote.directory import Presence
from dovecote.tap import Sighting
from dovecote.topics import checked_pattern

FIRST_QUESTION = "How do I change the broker?"

app = typer.Typer(
    help="Multi-agent services on Dapr: start the system of this checkout, ask it, look at it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(dlq, name="dlq")

Docs = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, resolve_path=True, help="Folder of documents to ask about."),
]


@app.callback()
def read_environment(context: typer.Context) -> None:
    """Multi-agent services on Dapr: start the system of this checkout, ask it, look at it."""
    context.obj = dict(os.environ)  # what the command itself was given
    try:
        load_dotenv(find_checkout(Path.cwd()) / ".env")
    except CommandError:
        return  # no checkout, so no .env of one; commands that need one say so


@app.command()
def up(
    broker: Annotated[str | None, typer.Option(help="A folder of components/pubsub.")] = None,
    llm: Annotated[str | None, typer.Option(help="A folder of components/llm.")] = None,
    question: Annotated[str, typer.Option(help="The first question.")] = FIRST_QUESTION,
    docs: Docs = None,
    once: Annotated[bool, typer.Option("--once", help="End after the first answer.")] = False,
) -> None:
    """Start everything, answer a first question, and serve until Ctrl-C."""
    _checked(question)
    checkout = find_checkout(Path.cwd())
    outcomes: list[CommandError | None] = []

    def ask_first(url: str) -> None:
        Console().print(f"\n{question}", markup=False, style="bold", soft_wrap=True)
        try:
            answer(url, Inquiry(question, str(docs) if docs else None))
        except CommandError as error:
            outcomes.append(error)
            report(error)
        else:
            outcomes.append(None)
            sys.stdout.write(f"Answered {launcher.seconds_since_start():.1f} s after the start.\n")
        if not once:
            sys.stdout.write(f'\nThe gateway is at {url}\nTry: make ask Q="…" in another shell; Ctrl-C ends it.\n')
        sys.stdout.flush()

    status = launcher.serve(checkout, ask_first, broker=broker, llm=llm, once=once)
    if status == 0 and once and outcomes != [None]:
        status = 1 if outcomes else StoppedError.status
    raise typer.Exit(status)


@app.command()
def ask(  # noqa: PLR0913, PLR0917 - the options of the command
    question: Annotated[str, typer.Argument(help="The question; not needed with --task.")] = "",
    docs: Annotated[
        str | None,
        typer.Option(help="Folder of documents to ask about; with --gateway, as the system there knows it."),
    ] = None,
    as_json: AsJson = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 600.0,
    gateway: GatewayUrl = None,
    task: Annotated[str, typer.Option(help="Id of a task that runs already, to follow it.")] = "",
) -> None:
    """Ask the running system; shows its steps as they happen, then the answer.

    The exit status is 0 if it was answered, 1 if the task failed, 2 if the call is wrong, 3 if no system runs.
    """
    folder = docs if gateway or docs is None else _folder(docs)
    inquiry = Inquiry("" if task else _checked(question), folder, task, timeout)
    try:
        answer(gateway or gateway_address(Path.cwd()), inquiry, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(StoppedError.status) from None


@app.command()
def bridge(
    old: Annotated[str, typer.Option("--from", help="Folder of components/pubsub that is left.")],
    new: Annotated[str, typer.Option("--to", help="Folder of components/pubsub that is used from now on.")],
    idle: Annotated[float, typer.Option(min=1, help="Seconds without a message after which it is done.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Move what waits on one broker to another, while the system runs on the new one.

    What a consumer had taken and not finished comes back after a time of the old broker's own (processingTimeout
    and the like in its component file): wait for longer than that.
    """
    try:
        moved = launcher.bridge(find_checkout(Path.cwd()), old, new, idle=idle, quiet=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(StoppedError.status) from None
    if as_json:
        sys.stdout.write(json.dumps(moved, indent=2) + "\n")
    else:
        rows = [f"{count:>8}  {topic}" for topic, count in moved.items()] or ["nothing was waiting"]
        sys.stdout.write("\n".join(rows) + "\n")


@app.command()
def agents(as_json: AsJson = False, gateway: GatewayUrl = None) -> None:
    """Show the apps, and whether each is online."""

    async def get(url: str) -> list[Presence]:
        async with Gateway(url) as client:
            return await client.agents()

    running = asyncio.run(get(gateway or gateway_address(Path.cwd())))
    if as_json:
        sys.stdout.write(json.dumps([row.model_dump(mode="json") for row in running], indent=2) + "\n")
    else:
        Console().print(agents_table(running))


@app.command()
def tail(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            help="Topics: + is any one level, # at the end all that follow; every topic if none is named."
        ),
    ] = None,
    json_lines: AsJson = False,
    apps: Annotated[
        list[str] | None, typer.Option("--app", help="Address of an app, if it is not this checkout's; or several.")
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="APP_API_TOKEN", help="What apps demand of their sidecars, if they do.")
    ] = "",
) -> None:
    """Show the messages of the running system as they pass, on any broker, until Ctrl-C.

    It looks on in the apps: what a client without Dovecote sends to a topic that no app listens to is not seen.
    """
    try:
        wanted = [checked_pattern(pattern) for pattern in patterns or ["#"]]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    console, errors = Console(), Console(stderr=True)

    def running() -> dict[str, str]:
        return {url: url for url in apps} if apps else recorded_apps(find_checkout(Path.cwd()))

    def show(sighting: Sighting) -> None:
        if json_lines:
            sys.stdout.write(as_json(sighting) + "\n")
            sys.stdout.flush()
        else:
            console.print(as_line(sighting), soft_wrap=True)

    def note(text: str) -> None:
        errors.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    if not running():
        raise NotRunningError("no system runs here", mend="start it: make run, or name its apps with --app")
    try:
        asyncio.run(Tail(running(), wanted, show, note, lambda: bool(running()), token).follow())
    except KeyboardInterrupt:
        raise typer.Exit(StoppedError.status) from None


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A messaging file in Argentic's format.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the component file and .env.")] = Path("imported"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a messaging file into a component file and a .env, and say what became of each key.

    `${VAR}` is read from the environment, else a file .env beside the messaging file, else the checkout's.
    """
    known = read_format()
    beside = {name: value or "" for name, value in dotenv_values(file.parent / ".env").items()}
    env = {**os.environ, **beside, **context.obj}
    work = Import(read_file(file, known, env), known, find_checkout(Path.cwd()))
    written = work.write(out, force=force)
    _tell(written, [*work.accounts()], as_json=as_json)
    if not as_json:
        sys.stdout.write(
            f"To use it: cat {out / '.env'} >> .env, and in dapr.yaml name {out} in resourcesPaths, where a folder "
            "of components/pubsub stands.\n"
        )


@app.command()
def retries(
    max_attempts: Annotated[int, typer.Option(min=1, max=100, help="How often a message is tried in all.")],
    initial_delay: Annotated[float, typer.Option(min=0.001, max=900, help="Seconds before the second try.")],
    backoff_multiplier: Annotated[float, typer.Option(min=1, max=100, help="What each pause grows by.")],
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="The file; else the checkout's, after which one that is not there is made."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write how often, and how far apart, a message is tried that fails, and say what became of each key.

    It is the policy `inbound` of components/shared/resiliency.yaml, which all that is delivered has. A message may
    allow fewer attempts itself. What is written counts from the next start of the sidecars.
    """
    checkout = find_checkout(Path.cwd())
    policy = RetryPolicy(max_attempts, initial_delay, backoff_multiplier)
    file = out or checkout / RESILIENCY
    before = file if file.exists() else checkout / RESILIENCY
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(policy.written(before.read_text(encoding="utf-8"), str(before)), encoding="utf-8")
    _tell([file], [*policy.accounts(noticed_after(checkout))], as_json=as_json)
    if not as_json:
        sys.stdout.write("It counts from the next start of the sidecars.\n")


@app.command()
def keys(
    app_ids: Annotated[
        list[str] | None, typer.Argument(help="App-ids; those of dapr.yaml if none is named.")
    ] = None,
    key_id: Annotated[
        str, typer.Option("--id", help="What the new keys are called; the day if it is not given.")
    ] = "",
) -> None:
    """Make new keys for signatures and encryption: lines for .env, in which the old keys are still known."""
    run_file = yaml.safe_load((find_checkout(Path.cwd()) / "dapr.yaml").read_text(encoding="utf-8"))
    names = app_ids or [row["appID"] for row in run_file["apps"]]
    lines = new_lines(names, key_id or datetime.now(UTC).strftime("%Y%m%d"), os.environ)
    sys.stdout.write("\n".join(lines) + "\n")


@app.command()
def doctor(
    as_json: AsJson = False,
    gateway: Annotated[
        str | None, typer.Option(help="Address of the gateway of a system elsewhere, to check that instead.")
    ] = None,
) -> None:
    """Check this checkout and the system that runs in it; the exit status is 1 if there is a problem."""
    checks = asyncio.run(check_gateway(gateway)) if gateway else list(check_all(find_checkout(Path.cwd())))
    if as_json:
        sys.stdout.write(json.dumps([asdict(check) for check in checks], indent=2) + "\n")
    else:
        show_checks(Console(), checks)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _tell(files: list[Path], accounts: list[Account], *, as_json: bool) -> None:
    """Show what was written, and what became of each key."""
    if as_json:
        report = {"files": [*map(str, files)], "keys": [asdict(account) for account in accounts]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    Console().print(accounts_table(accounts))
    sys.stdout.write(f"\nWritten: {', '.join(map(str, files))}\n")


def _folder(docs: str) -> str:
    folder = Path(docs).resolve()
    if not folder.is_dir():
        raise typer.BadParameter(f"--docs: there is no folder {str(folder)!r}")
    return str(folder)


def _checked(question: str) -> str:
    if not question.strip():
        raise typer.BadParameter('the question is empty: make ask Q="…"')
    return question
