"""Pages that follow from data are what the data says."""

import subprocess
from pathlib import Path

import pytest
import yaml

from dovecote.cli.pages import BEGIN, ELSEWHERE, capability_table, env_example, secrets, with_classes, with_table
from dovecote.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_example_of_the_environment_is_what_the_settings_say() -> None:
    assert (CHECKOUT / ".env.example").read_text() == env_example(CHECKOUT / "components"), (
        "write it again: make pages"
    )


def test_the_table_of_brokers_is_what_the_capabilities_say() -> None:
    page = (CHECKOUT / "components" / "README.md").read_text()
    rows = yaml.safe_load((CHECKOUT / "components" / "capabilities.yaml").read_text())
    assert page == with_classes(with_table(page, capability_table(rows))), "write it again: make pages"


def test_every_setting_is_in_the_example_with_its_default() -> None:
    text = env_example(CHECKOUT / "components")
    assert "# seconds until an unanswered task is sent again\n# DOVECOTE_RESEND_AFTER=5.0\n" in text
    for name in Settings.model_fields.keys() - {"app_port", "dapr_http_port", "dapr_grpc_port"}:
        prefix = "" if name.endswith("token") else "DOVECOTE_"
        assert f"\n# {prefix}{name.upper()}=" in text


@pytest.mark.parametrize("variable", ELSEWHERE)
def test_every_other_variable_of_the_example_is_read_somewhere(variable: str) -> None:
    where = ["src/dovecote/cli/commands.py", "src/dovecote/cli/options.py", "deploy/local"]
    found = subprocess.run(["grep", "-rlF", variable, *where], cwd=CHECKOUT, check=False, capture_output=True)
    assert found.stdout, f"nobody reads {variable}"


def test_what_components_refer_to_is_in_the_example(tmp_path: Path) -> None:
    folder = tmp_path / "components"
    (folder / "llm" / "parrot").mkdir(parents=True)
    item = {"name": "key", "secretKeyRef": {"name": "PARROT_KEY", "key": "PARROT_KEY"}}
    file = folder / "llm" / "parrot" / "llm.yaml"
    file.write_text(yaml.safe_dump({"spec": {"metadata": [item, {"name": "model", "value": "grey"}]}}))
    assert secrets(folder) == {"PARROT_KEY": ["key of components/llm/parrot/llm.yaml"]}
    assert "# key of components/llm/parrot/llm.yaml\n# PARROT_KEY=\n" in env_example(folder)


def test_a_capability_that_only_one_broker_has_is_a_column_for_all() -> None:
    table = capability_table({"pubsub.a": {"durable": True}, "pubsub.b": {"durable": False, "group_prefix": "$x/"}})
    assert table.splitlines() == [
        "| component type | durable | group prefix |",
        "| --- | --- | --- |",
        "| `pubsub.a` | yes |  |",
        "| `pubsub.b` | no | `$x/` |",
    ]


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        with_table(f"no end {BEGIN[:5]}", "")
