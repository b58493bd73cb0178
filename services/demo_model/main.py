"""The demonstration model: an OpenAI-compatible server that needs no key and no network, and says what it is.

With DOVECOTE_MODEL_SCRIPT set to a JSON file it answers by that script.
"""

import os
from pathlib import Path

from services.demo_model.app import create_app
from services.demo_model.script import Script, ScriptError

path = os.environ.get("DOVECOTE_MODEL_SCRIPT")
try:
    script = Script.load(Path(path)) if path else None
except ScriptError as error:
    raise SystemExit(str(error)) from error

app = create_app(script)
