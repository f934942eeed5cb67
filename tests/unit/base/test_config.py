"""Settings: which source wins, and what is refused."""

from pathlib import Path

import pytest

from sage.base.config import cluster_settings, load_settings, trace_settings
from sage.base.errors import ConfigInvalid
from sage.base.settings import EngineSettings, Setting, Settings, TenantSettings, schema


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "sage.toml"
    engine = '[[engine]]\nname = "a"\nkind = "simulated"\nmodel = "m"\n'
    path.write_text(f'[gateway]\nport = 1\n[plane]\npolicy = "fifo"\n{engine}')
    return path


def test_nothing_given_is_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({}, {}) == Settings()


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(toml: Path) -> None:
    environ = {"SAGE_GATEWAY_PORT": "2"}
    assert load_settings({"gateway.port": 3}, environ, toml).gateway.port == 3
    assert load_settings({"gateway.port": None}, environ, toml).gateway.port == 2
    assert load_settings({}, {}, toml).gateway.port == 1


def test_each_value_says_where_it_came_from(toml: Path) -> None:
    origins = trace_settings({"gateway.host": "::1"}, {"SAGE_GATEWAY_PORT": "2"}, toml).origins
    assert origins["gateway.host"] == "flag"
    assert origins["gateway.port"] == "SAGE_GATEWAY_PORT"
    assert origins["plane.policy"] == origins["engine"] == str(toml)
    assert origins["plane.max_waiting"] == "default"


def test_sage_toml_of_the_current_folder_is_read(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml.parent)
    assert load_settings({}, {}).plane.policy == "fifo"


def test_engines_of_flags_replace_those_of_the_file(toml: Path) -> None:
    engine = EngineSettings(name="b", kind="simulated", model="n")
    assert [e.name for e in load_settings({}, {}, toml).engines] == ["a"]
    assert load_settings({"engine": [engine]}, {}, toml).engines == (engine,)


@pytest.mark.parametrize("setting", schema(), ids=lambda setting: setting.env_name)
def test_every_setting_can_be_given_by_the_environment(setting: Setting) -> None:
    text = "7" if setting.default is None else str(setting.default)
    assert trace_settings({}, {setting.env_name: text}).origins[setting.name] == setting.env_name


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        ({"gateway.prot": 1}, {}, r"Did you mean gateway\.port"),
        ({}, {"SAGE_GATEWAY_PRT": "1"}, "Did you mean SAGE_GATEWAY_PORT"),
        ({}, {"SAGE_GATWAY_PORT": "1"}, "Did you mean SAGE_GATEWAY_PORT"),
        ({}, {"SAGE_GATEWAY_PORT": "many"}, r"SAGE_GATEWAY_PORT: gateway\.port = 'many'"),
        ({}, {"SAGE_GATEWAY_PORT": "99999"}, "65535"),
        ({"runtime.stop_timeout_s": 0}, {}, "runtime.stop_timeout_s"),
        ({"log.level": "loud"}, {}, "loud"),
    ],
)
def test_what_is_unknown_or_wrong_is_refused_by_name(
    flags: dict[str, object], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        load_settings(flags, environ)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gatway]\nport = 1", "Did you mean gateway"),
        ("[gateway]\nprot = 1", r"Did you mean gateway\.port"),
        ("gateway = 1", r"\[gateway\]"),
        ('[gateway]\nport = "1"', "Expected `int`"),
        ("[gateway\n", "no TOML"),
        ("engine = 1", r"\[\[engine\]\]"),
        ('[[engine]]\nname = "a"\nkind = "k"\nmodle = "m"', r"Did you mean engine\.model"),
        ('[[engine]]\nname = "a"\nkind = "k"', "model"),
        ("tenant = 1", r"\[\[tenant\]\]"),
        ('[[tenant]]\nname = "a"\ntokens_per_minut = 1', r"Did you mean tenant\.tokens_per_minute"),
        ('[[tenant]]\nname = "a"\ntokens_per_minute = 0', "tokens_per_minute"),
        ('[[tenant]]\nname = "a"\n' * 2, "two tenants are named 'a'"),
        ('[[engine]]\nname = "a"\nkind = "k"\nmodel = "m"\n' * 2, "two engines are named 'a'"),
    ],
)
def test_a_file_with_a_mistake_is_refused_and_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sage.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=message) as refused:
        load_settings({}, {}, path)
    assert str(path) in refused.value.what


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "sage.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match="cannot read"):
        load_settings({}, {}, path)


def test_names_of_other_programs_are_left_alone() -> None:
    environ = {"SAGE_ROOT": "/opt/sage", "SAGE_DATA": "/data", "SAGE_LOCAL": "x"}
    assert load_settings({}, environ) == load_settings({}, {})


def test_tenants_are_tables_of_their_own_with_where_they_came_from(tmp_path: Path) -> None:
    path = tmp_path / "sage.toml"
    path.write_text('[[tenant]]\nname = "a"\ntokens_per_minute = 100\nweight = 2\n')
    traced = trace_settings({}, {}, path)
    assert traced.settings.tenants == (TenantSettings(name="a", tokens_per_minute=100, weight=2.0),)
    assert traced.origins["tenant"] == str(path)


def test_the_settings_of_clusters_are_read_whatever_is_wrong_with_others(tmp_path: Path) -> None:
    path = tmp_path / "sage.toml"
    path.write_text("[jobs]\nmax_restart = 3\n[nonsense]\nx = 1\n[cluster]\nreconnect_s = 7.0\n")
    with pytest.raises(ConfigInvalid, match="max_restart"):
        load_settings(environ={}, path=path)
    assert cluster_settings(environ={"SAGE_JOBS_NONSENSE": "1"}, path=path).reconnect_s == 7.0
    with pytest.raises(ConfigInvalid, match="SAGE_CLUSTER_NONSENSE"):
        cluster_settings(environ={"SAGE_CLUSTER_NONSENSE": "1"}, path=path)
    path.write_text("[cluster]\nreconnects_s = 7.0\n")
    with pytest.raises(ConfigInvalid, match=r"cluster\.reconnects_s"):
        cluster_settings(environ={}, path=path)
