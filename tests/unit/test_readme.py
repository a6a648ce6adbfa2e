"""What the front pages show is what happens."""

import re
from pathlib import Path

import pytest

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
