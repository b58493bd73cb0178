"""Options that several commands have in common."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
GatewayUrl = Annotated[
    str | None,
    typer.Option(
        "--gateway", envvar="DOVECOTE_GATEWAY", help="Address of the gateway, if it is not this checkout's."
    ),
]
