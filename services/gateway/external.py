"""External tools: clients of the broker that know nothing of Dovecote, offered as functions of the gateway.

A tool registers on `agent/tools/register`, is called on `agent/tools/call/<id>` and answers on
`agent/tools/response/<id>`, all in plain JSON.
"""

from dovecote import App, Message, topics
from dovecote.messages import new_id
from dovecote.results import Failure
from dovecote.singleflight import SingleFlight
from dovecote.toolbox import misfits
from dovecote.tools import ToolOutcome, ToolRequest
from services.gateway.announcements import Announcements
from services.gateway.calls import Calls
from services.gateway.registrations import Registrations, ToolRegistration, Unregistration, checked


class ExternalTools:
    """Adds external tools to an app: takes their registrations, announces them, calls them."""

    def __init__(self, app: App) -> None:
        self._registrations = Registrations(app)
        self._calls = Calls(app)
        self._announcements = Announcements(app, self._registrations, self._calls)
        self._under_way: SingleFlight[ToolOutcome] = SingleFlight()
        app.subscribe(topics.TOOL_REGISTRATIONS, raw=True)(self.register)
        app.router.add_api_route("/tools/{function}", self.call, methods=["POST"])
        app.lifespans.append(self._announcements.kept)

    async def register(self, message: Message) -> None:
        """Keep a tool, or forget it. It is announced apart: a delivery must not wait for a new subscription."""
        content = message.content
        if isinstance(content, dict) and content.get("unregister"):
            name = checked(Unregistration, content).name
            await self._registrations.remove(name)
        else:
            tool = checked(ToolRegistration, content)
            await self._registrations.add(tool)
            name = tool.name
        self._announcements.changed(name)

    async def call(self, function: str, request: ToolRequest) -> ToolOutcome:
        """Call a tool once per call id, however often the call comes."""
        tool = await self._registrations.get(function)
        if problems := misfits(tool.spec, request.arguments):
            return ToolOutcome(error=Failure(type="InvalidInputError", message=problems))
        named = request.model_copy(update={"id": request.id or new_id()})
        return await self._under_way.do(named.id, lambda: self._make(tool, named))

    async def _make(self, tool: ToolRegistration, request: ToolRequest) -> ToolOutcome:
        # Another replica may have taken the registration. A broker that keeps nothing loses what nobody hears yet.
        await self._announcements.hear(tool)
        return await self._calls.make(tool, request)
