"""Dead letters at the gateway: over REST, and with the command `dovecote dlq`."""

import asyncio
import io
import json
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr

from dovecote import Message, Reject
from dovecote.cli import main
from dovecote.errors import UnavailableError
from dovecote.guard import TOKEN
from tests.support.office import Office, letter
from tests.support.ports import bound_socket

pytestmark = pytest.mark.asyncio(loop_scope="session")
LETTERS = "/v1/dead-letters"
SECRET = "a secret"


async def _rejected(office: Office, **fields: Any) -> Message:
    return await office.send(letter(**fields), ann=[Reject("the lamp is out")])


@pytest.mark.promise("AOS-11")
async def test_letters_are_listed_shown_resubmitted_and_discarded_over_rest(office: Office) -> None:
    message, other = await _rejected(office), await _rejected(office)
    async with office.net.http("gateway") as http:
        page = (await http.get(LETTERS, params={"consumer": "ann", "limit": 1})).json()
        assert [row["id"] for row in page["rows"]] == [other.id]
        rest = (await http.get(LETTERS, params={"cursor": page["next"]})).json()
        assert [(row["id"], row["retryable"]) for row in rest["rows"]] == [(message.id, False)]
        shown = (await http.get(f"{LETTERS}/{message.id}")).json()
        assert "Reject: the lamp is out" in shown["reasons"][0]["traceback"]
        answer = await http.post(f"{LETTERS}/{message.id}/resubmit")
        assert (answer.status_code, answer.json()["state"]) == (200, "handled")
        answer = await http.delete(f"{LETTERS}/{other.id}", params={"why": "a test"})
        assert (answer.status_code, answer.json()["state"]) == (200, "discarded")
        assert (await http.get(LETTERS)).json() == {"rows": [], "next": None}
    assert office.ann.handled == [message]


@pytest.mark.parametrize("message_id", ["shop/7", "a b", "50%", "was ist das?", "x/resubmit"])
async def test_any_id_can_be_acted_on(office: Office, message_id: str) -> None:
    await _rejected(office, id=message_id)
    status, out, _ = await _command(office, "resubmit", message_id)
    assert (status, out.split()[0]) == (0, "handled")
    assert [message.id for message in office.ann.handled] == [message_id]


@pytest.mark.parametrize(
    ("verb", "path", "status", "title"),
    [
        ("GET", "/nobody", 404, "NotFoundError"),
        ("POST", "/nobody/resubmit", 404, "NotFoundError"),
        ("DELETE", "/nobody", 404, "NotFoundError"),
        ("GET", "?limit=0", 422, "InvalidInputError"),
        ("GET", "?colour=red", 422, "InvalidInputError"),
        ("GET", "?topic=A%2B", 422, "InvalidInputError"),
    ],
)
async def test_what_is_wrong_is_a_problem(office: Office, verb: str, path: str, status: int, title: str) -> None:
    async with office.net.http("gateway") as http:
        answer = await http.request(verb, f"{LETTERS}{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == title


async def test_a_resubmission_over_the_limit_is_a_conflict(office: Office) -> None:
    message = await office.send(letter(), ann=[Reject("no")] * 9)
    async with office.net.http("gateway") as http:
        path = f"{LETTERS}/{message.id}/resubmit"
        assert [(await http.post(path)).json()["state"] for _ in range(2)] == ["open", "open"]
        answer = await http.post(path)
    assert (answer.status_code, answer.json()["title"]) == (409, "ConflictError")
    assert "DOVECOTE_MAX_RESUBMISSIONS" in answer.json()["mend"]


async def test_letters_need_the_token_where_apps_demand_one() -> None:
    office = Office(APP_API_TOKEN=SecretStr(SECRET))
    async with office.net, office.net.http("gateway") as http:
        for headers, status in (({}, 401), ({TOKEN: "another"}, 401), ({TOKEN: SECRET}, 200)):
            assert (await http.get(LETTERS, headers=headers)).status_code == status
        assert (await http.delete(f"{LETTERS}/x")).status_code == 401
        status, _, err = await _command(office, "ls")
        assert (status, "401" in err) == (1, True)
        assert (await _command(office, "ls", "--token", SECRET))[0] == 0


async def test_the_openapi_description_has_the_routes(office: Office) -> None:
    async with office.net.http("gateway") as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    found = {(path, verb) for path, verbs in paths.items() if path.startswith(LETTERS) for verb in verbs}
    one = f"{LETTERS}/{{message_id}}"
    assert found == {(LETTERS, "get"), (one, "get"), (one, "delete"), (f"{one}/resubmit", "post")}


async def _command(office: Office, *arguments: str) -> tuple[int, str, str]:
    """The exit status, output and errors of `dovecote dlq` with the office's gateway on a real port."""
    socket = bound_socket()
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            office.net._running["gateway"], log_config=None, lifespan="off", ws="none", timeout_keep_alive=1
        )
    )
    serving = asyncio.create_task(server._serve([socket]))
    try:
        return await asyncio.to_thread(_run, "dlq", *arguments, "--gateway", url)
    finally:
        server.should_exit = True
        await serving


def _run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        patch.setattr("sys.stdin", io.StringIO("n\n"))
        patch.setenv("COLUMNS", "200")
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


@pytest.mark.promise("AOS-11")
async def test_the_command_lists_shows_resubmits_and_discards(office: Office) -> None:
    message, other = await _rejected(office), await _rejected(office)
    status, out, _ = await _command(office, "ls")
    assert (status, message.id in out, "Reject: the lamp is out" in out) == (0, True, True)
    status, out, _ = await _command(office, "show", message.id)
    assert (status, "ann: open since" in out, "Traceback" in out, "a letter" in out) == (0, True, True, True)
    status, out, _ = await _command(office, "resubmit", message.id)
    assert (status, out.split()) == (0, ["handled", message.id, "ann"])
    status, out, _ = await _command(office, "discard", other.id, "--yes", "--why", "a test")
    assert (status, out.split()) == (0, ["discarded", other.id, "ann"])
    assert await _command(office, "ls") == (0, "There is no dead letter that fits.\n", "")
    status, out, _ = await _command(office, "show", other.id)
    assert "discarded: a test" in out


async def test_all_that_fit_are_resubmitted_and_json_tells_of_each(office: Office) -> None:
    fine, again = await _rejected(office), await _rejected(office)
    left = await office.send(letter(), bob=[Reject("no oil")])
    office.ann.errors[again.id] = [UnavailableError("away")]
    status, out, _ = await _command(office, "resubmit", "--all", "--reason", "lamp", "--json")
    assert status == 1
    assert {row["id"]: (row["state"], row["reason"]) for row in json.loads(out)} == {
        fine.id: ("handled", "the lamp is out"),
        again.id: ("open", "away"),
    }
    assert {row.id for row in await office.ls()} == {again.id, left.id}


async def test_nothing_is_discarded_without_a_yes(office: Office) -> None:
    message = await _rejected(office)
    status, _, err = await _command(office, "discard", "--all", "--since", "1h")
    assert (status, "Discard 1 for good?" in err) == (1, True)
    assert [row.id for row in await office.ls()] == [message.id]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resubmit"], "name ids, or --all"),
        (["discard", "x", "--all", "--yes"], "name ids, or --all"),
        (["discard", "x", "--sender", "shop", "--yes"], "filters go with --all"),
        (["resubmit", "x", "--since", "1h"], "filters go with --all"),
        (["ls", "--since", "soon"], "'soon' is no time"),
        (["ls", "--topic", "A+"], "no pattern of topics"),
    ],
)
async def test_a_wrong_call_ends_with_status_2(office: Office, arguments: list[str], said: str) -> None:
    status, _, err = await _command(office, *arguments)
    assert (status, said in " ".join(err.split())) == (2, True), err


async def test_what_the_gateway_refuses_is_told_with_its_mend(office: Office) -> None:
    status, _, err = await _command(office, "resubmit", "nobody")
    assert (status, err) == (1, "error: the gateway answered 404: there is no dead letter 'nobody'\n")
    message = await office.send(letter(), ann=[Reject("no")], bob=[Reject("not I")])
    status, _, err = await _command(office, "resubmit", message.id)
    assert (status, "several consumers" in err, "mend:  name one" in err) == (1, True, True)
    status, out, _ = await _command(office, "resubmit", message.id, "--consumer", "bob")
    assert (status, out.split()) == (0, ["handled", message.id, "bob"])
