"""Settings: where they come from, and what a person is told when they are wrong."""

import tomllib
from pathlib import Path

import pytest

from pacs_node.config import Device, Settings, config_file, load_settings
from pacs_node.errors import ConfigError
from tests.conftest import REPOSITORY

PEER = '[[peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "localhost"\nport = 104\n'
ROUTING = '[routing]\ndestinations = ["pacs"]\n'


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test starts in a folder without a config.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "mine.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(text))
    return str(caught.value)


def test_the_shipped_file_says_what_the_defaults_are() -> None:
    shipped = tomllib.loads((REPOSITORY / "config.toml").read_text(encoding="utf-8"))
    defaults = Settings().model_dump(mode="json", exclude={"peers", "routing"})
    peers = shipped.pop("peers")
    assert shipped.pop("routing") == {"destinations": [peers[0]["name"]]}
    assert shipped == defaults


def test_without_a_file_the_packaged_one_is_read() -> None:
    settings = load_settings()
    assert [peer.name for peer in settings.peers] == ["pacs"]
    assert settings.routing.destinations == ("pacs",)


def test_a_file_in_the_working_folder_comes_before_the_packaged_one() -> None:
    written("[node]\nport = 104\n", "config.toml")
    assert config_file() == Path("config.toml")
    assert load_settings().node.port == 104


def test_a_named_file_comes_before_the_one_in_the_working_folder() -> None:
    written("[node]\nport = 104\n", "config.toml")
    assert load_settings(written("[node]\nport = 105\n")).node.port == 105


def test_the_environment_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__PORT", "106")
    monkeypatch.setenv("PACS_NODE_MODEL__DEVICE", "cpu")
    monkeypatch.setenv("PACS_NODE_OUTPUT__BURNED_IN_LABEL", "false")
    settings = load_settings(written("[node]\nport = 105\n"))
    assert (settings.node.port, settings.model.device, settings.output.burned_in_label) == (106, Device.CPU, False)


@pytest.mark.parametrize("text", ['["RIB", "CHEST"]', "['RIB', 'CHEST']"])
def test_a_list_in_the_environment_is_json_or_toml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_GATE__BODY_PARTS", text)
    assert load_settings().gate.body_parts == ("RIB", "CHEST")


def test_peers_in_the_environment_replace_those_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_PEERS", '[{"name": "pacs", "ae_title": "OTHER", "host": "h", "port": 1}]')
    assert [peer.ae_title for peer in load_settings().peers] == ["OTHER"]


def test_the_command_line_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__PORT", "106")
    assert load_settings(overrides={"node.port": 107}).node.port == 107


def test_an_unrelated_variable_is_not_an_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_SHARED_DATA", "anything")
    assert load_settings().node.port == 11112


def test_data_dir_is_taken_from_the_working_folder(empty_folder: Path) -> None:
    assert load_settings().node.data_dir == empty_folder / "var"


def test_an_absolute_data_dir_is_kept() -> None:
    assert load_settings(overrides={"node.data_dir": "/srv/node"}).node.data_dir == Path("/srv/node")


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("[node]\nae_titel = 'X'", "node.ae_titel", "node.ae_title"),
        ("[nodes]\nport = 1", "nodes", "node"),
        ("[node]\nsteps = 4", "node.steps", "model.steps"),
        (PEER + "hots = 'x'\n" + ROUTING, "peers.0.hots", "peers.host"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(text: str, unknown: str, nearest: str) -> None:
    told = complaint(text)
    assert "mine.toml" in told
    assert f"{unknown} is unknown; the nearest known key is {nearest}" in told


def test_an_unknown_variable_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__PROT", "1")
    with pytest.raises(ConfigError, match=r"PACS_NODE_NODE__PROT: node\.prot is unknown.*node\.port"):
        load_settings()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("port = 70000", "node.port = 70000 is not allowed; it takes an integer from 1 to 65535"),
        ("port = true", "node.port = True is not allowed; it takes an integer from 1 to 65535"),
        ("port = '104'", "node.port = '104' is not allowed; it takes an integer from 1 to 65535"),
        ("network_timeout_s = inf", "it takes a number above 0"),
        ("port = 'x'", "node.port = 'x' is not allowed; it takes an integer from 1 to 65535"),
        ("network_timeout_s = 0", "it takes a number above 0"),
        ("ae_title = ' '", "it takes 1 to 16 ASCII characters, no backslash, no space at either end"),
        ("ae_title = 'SEVENTEEN LETTERS'", "it takes 1 to 16 ASCII characters"),
        ("ae_title = 'A\\B'", "it takes 1 to 16 ASCII characters, no backslash"),
        ("host = ''", "it takes a host name or an IP address"),
        ("network_timeout_s = 1e300", "it takes a number above 0 and up to 86400"),
        ("data_dir = '~nobody-of-this-name/var'", "names no user of this machine"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(line: str, told: str) -> None:
    assert told in complaint(f"[node]\n{line}\n")


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("PACS_NODE_NODE__PORT", "many", "PACS_NODE_NODE__PORT: node.port = 'many' is not allowed"),
        ("PACS_NODE_NODE__PORT", "1.5", "node.port = 1.5 is not allowed"),
        ("PACS_NODE_OUTPUT__BURNED_IN_LABEL", "maybe", "it takes true or false"),
        ("PACS_NODE_PEERS", "3", "PACS_NODE_PEERS: peers = 3 is not allowed; it takes a list"),
        ("PACS_NODE_PEERS__NAME", "x", "peers is a list; give all of it as PACS_NODE_PEERS='[...]'"),
        ("PACS_NODE_NODE__A__B", "1", "PACS_NODE_NODE__A__B: node.a is unknown"),
    ],
)
def test_a_wrong_variable_is_told_with_its_name(
    variable: str, text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert told in str(caught.value)


def test_a_variable_below_a_value_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_NODE__PORT__B", "1")
    with pytest.raises(ConfigError, match=r"PACS_NODE_NODE__PORT__B: node\.port\.b is unknown"):
        load_settings(written("[node]\nport = 104\n"))


def test_a_wrong_word_is_told_with_the_words_there_are() -> None:
    assert "model.device = 'gpu' is not allowed; it takes one of auto, cpu, cuda" in complaint("[model]\ndevice='gpu'")


def test_options_of_a_provider_are_texts_numbers_or_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_NODE_MODEL__PROVIDER_OPTIONS__OPENVINO", '{device_type = "GPU"}')
    options = load_settings(written("[model.provider_options]\ncuda = {device_id = 1, use_tf32 = true}\n"))
    assert options.model.provider_options.cuda == {"device_id": 1, "use_tf32": True}
    assert options.model.provider_options.openvino == {"device_type": "GPU"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("cude = {}", "model.provider_options.cude is unknown; the nearest known key is model.provider_options.cuda"),
        ("cuda = 3", "model.provider_options.cuda = 3 is not allowed; it takes a table of texts"),
        ("cuda = {device_id = [1]}", "model.provider_options.cuda.device_id"),
    ],
)
def test_options_of_no_provider_or_of_another_type_are_refused(line: str, told: str) -> None:
    assert told in complaint(f"[model.provider_options]\n{line}\n")


def test_all_problems_are_told_at_once() -> None:
    told = complaint("[node]\nport = 0\nprot = 1\n" + PEER + "[routing]\ndestinations = ['b']\n[model]\nseed = -1\n")
    for part in ("node.port", "node.prot", "'b', which is no peer", "model.seed"):
        assert part in told


def test_a_destination_must_be_a_peer() -> None:
    told = complaint(PEER + "[routing]\ndestinations = ['pasc']\n")
    assert "routing.destinations names 'pasc', which is no peer; the peers are pacs" in told


def test_peers_without_routing_are_an_error_because_nothing_would_leave() -> None:
    assert "name those of pacs that get companions" in complaint(PEER)


def test_an_empty_list_of_destinations_is_a_choice() -> None:
    assert load_settings(written(PEER + "[routing]\ndestinations = []\n")).routing.destinations == ()


def test_two_peers_of_one_name_are_refused() -> None:
    assert "peers.name = 'pacs' stands twice" in complaint(PEER + PEER + ROUTING)


def test_a_destination_named_twice_is_refused() -> None:
    assert "names 'pacs' twice" in complaint(PEER + "[routing]\ndestinations = ['pacs', 'pacs']\n")


def test_broken_toml_is_told_with_its_line() -> None:
    assert "line 2" in complaint("[node]\nport = = 1\n")


def test_a_file_that_begins_with_the_mark_of_some_editors_is_read() -> None:
    assert load_settings(written("\ufeff[node]\nport = 104\n")).node.port == 104


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"none\.toml is not a file"):
        load_settings(Path("none.toml"))
