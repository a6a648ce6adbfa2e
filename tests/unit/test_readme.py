"""What the front pages show is what happens."""

import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from edge_agent.cli.commands import app
from edge_agent.config import load_local
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["README.md", "README.zh-CN.md"])
def page(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return (ROOT / name).read_text("utf-8")


def block(page: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_configuration_can_be_used(page: str, tmp_path: Path) -> None:
    path = tmp_path / "press.yaml"
    path.write_text(block(page, "yaml"))
    options = load_local(path, Registry())
    assert options.identifiers is not None


def test_its_mistakes_are_answered_as_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = block(page, "yaml").replace("    interval:", "    intervall:").replace("type: uint32", "type: flaot32")
    Path("press.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_local(Path("press.yaml"), Registry())
    assert f"{refused.value}\n" == block(page, "text")


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("drivers/*/README.md")]
SHOWN = sorted(
    {
        one.strip()
        for page in PAGES
        for line in re.findall(r"^[\w ]*\$ (?:sudo )?edge-agent (.+)$", page.read_text("utf-8"), re.MULTILINE)
        for one in [line.partition("  #")[0].partition("&&")[0]]
    }
)


@pytest.mark.parametrize("shown", SHOWN)
def test_a_command_that_a_page_shows_can_be_typed(shown: str) -> None:
    command, words = get_command(app), shlex.split(shown)
    while isinstance(command, TyperGroup):
        command = command.commands[words.pop(0)]
    command.make_context("edge-agent", words)  # what is missing or unknown is an error
