"""Standard output is the result, in one of three manners; everything else goes elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract import CALLS, Hear, all_commands
from jsonschema import Draft202012Validator

from echocli.api.schema import schema, schema_names

NO_DOCUMENT = {"shell-init": "it prints code for a shell"}
TABLES = {
    "config show": "settings are neither paths nor ids",
    "doctor": "what is not ok, with what mends it",
    "lvef evaluate --from-masks": "figures",
    **{f"{task} evaluate": "figures" for task in ("lvef", "segment", "classify")},
    **{f"{task} evaluate --against": "figures" for task in ("lvef", "segment", "classify")},
}
"""Commands whose result is neither a path nor an id: with -q it stands alone."""
SPEAKING = sorted({*CALLS} - {*NO_DOCUMENT})


def options_of(command: Any) -> set[str]:
    return {option for param in command.params for option in param.opts}


def test_every_command_has_a_call() -> None:
    assert {name for name in CALLS if " --" not in name} == set(all_commands())


@pytest.mark.parametrize("name", sorted({*all_commands()} - {*NO_DOCUMENT}))
def test_every_command_takes_json_and_quiet(name: str) -> None:
    assert {"--json", "--quiet", "-q"} <= options_of(all_commands()[name])


@pytest.mark.parametrize("name", SPEAKING)
def test_json_is_one_document_in_its_shipped_form(name: str, hear: Hear) -> None:
    heard = hear(name, "--json")
    assert heard.code == 0, heard.err
    document = json.loads(heard.out, parse_constant=pytest.fail)  # no NaN, no Infinity
    form = schema(document["schema"]).schema
    Draft202012Validator(form).validate(document)
    assert set(document) <= set(form["properties"]), "a field that the schema does not tell"
    others = [line for line in heard.err.splitlines() if not line.startswith("warning: ")]
    assert others == []


def test_every_schema_is_valid_and_of_a_document(hear: Hear) -> None:
    told = {hear(name, "--json").document["schema"] for name in SPEAKING}
    assert {f"echocli.{name.rpartition('-')[0]}/1" for name in schema_names()} == told
    for name in schema_names():
        form = schema(name).schema
        Draft202012Validator.check_schema(form)
        assert form["properties"]["schema"]["const"] == f"echocli.{name[:-2]}/1"
        assert set(form["required"]) <= set(form["properties"])


def test_a_document_of_another_form_is_refused(hear: Hear) -> None:
    document = hear("score", "--json").document
    form = Draft202012Validator(schema("score-1").schema)
    assert form.is_valid(document)
    assert not form.is_valid({**document, "schema": "echocli.vote/1"})
    assert not form.is_valid({**document, "k": "10"})
    assert not form.is_valid({k: v for k, v in document.items() if k != "threshold"})


@pytest.mark.parametrize("name", sorted({*SPEAKING} - {*TABLES}))
def test_quiet_prints_paths_or_ids_and_says_nothing(name: str, hear: Hear, study: Path) -> None:
    heard = hear(name, "-q")
    assert heard.code == 0, heard.err
    assert all(line.startswith("warning: ") for line in heard.err.splitlines())
    for line in heard.out.splitlines():
        assert (study / line).exists() or " " not in line, line
        assert "\t" not in line


@pytest.mark.parametrize("name", TABLES)
def test_quiet_leaves_a_table_alone(name: str, hear: Hear) -> None:
    assert hear(name, "-q").out
    assert all(line.startswith("warning: ") for line in hear(name, "-q").err.splitlines())


@pytest.mark.parametrize("name", sorted(CALLS))
def test_standard_output_is_the_result_alone(name: str, hear: Hear) -> None:
    """What is said beside the result, and only that, is missing when quiet."""
    plain = hear(name)
    assert plain.code == 0, plain.err
    assert plain.out
    assert "\x1b" not in plain.out + plain.err
    if name in NO_DOCUMENT:
        return
    quiet = set(hear(name, "-q").err.splitlines())
    assert quiet <= set(plain.err.splitlines())
    if "\t" not in plain.out and name not in TABLES:  # a path: the same with -q
        assert len(plain.out.splitlines()) <= len(hear(name, "-q").out.splitlines())
