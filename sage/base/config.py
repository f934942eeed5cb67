"""Settings from flags, environment and sage.toml, with where each came from. Knows no setting by name.

A flag beats the environment (SAGE_SECTION_KEY), which beats sage.toml, which beats the default.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from sage.base.errors import ConfigInvalid
from sage.base.settings import (
    ClusterSettings,
    EngineSettings,
    Setting,
    Settings,
    TenantSettings,
    engine_schema,
    schema,
    tenant_schema,
)

DEFAULT_PATH = Path("sage.toml")
_ENGINES_KEY = "engine"
_TENANTS_KEY = "tenant"
_CLUSTER = "cluster"
S = TypeVar("S", bound=msgspec.Struct)
_NO_FLAGS: Mapping[str, object] = MappingProxyType({})


class TracedSettings(msgspec.Struct, frozen=True):
    """Settings and, a key each, where its value came from: `default`, a file, an environment name or `flag`."""

    settings: Settings
    origins: dict[str, str]


def load_settings(
    flags: Mapping[str, object] = _NO_FLAGS,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> Settings:
    """Return the settings in force.

    `flags`: by name (`"gateway.port"`; `"engine"` for a list of EngineSettings); None means not given.
    `environ`: by default this process's. `path`: by default `sage.toml` here, if there is one.

    Raises: ConfigInvalid for an unknown key (it suggests the nearest), a wrong value, an unreadable file.
    """
    return trace_settings(flags, environ, path).settings


def trace_settings(
    flags: Mapping[str, object] = _NO_FLAGS,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> TracedSettings:
    """Do as `load_settings`, and say where each value came from."""
    known = schema()
    values: dict[str, object] = {setting.name: setting.default for setting in known}
    origins = dict.fromkeys([*values, _ENGINES_KEY, _TENANTS_KEY], "default")
    tables = _read_toml(path)
    layers = (
        (str(path or DEFAULT_PATH), _from_toml(tables, known, str(path or DEFAULT_PATH))),
        (None, _from_environ(os.environ if environ is None else environ, known)),
        ("flag", _from_flags(flags, known)),
    )
    for origin, found in layers:
        for name, value in found.items():
            values[name] = value
            origins[name] = origin or _env_name(name)
    engines = _engines(tables.get(_ENGINES_KEY), str(path or DEFAULT_PATH))
    if engines:
        origins[_ENGINES_KEY] = str(path or DEFAULT_PATH)
    flagged = flags.get(_ENGINES_KEY)
    if flagged:
        engines, origins[_ENGINES_KEY] = _engines(flagged, "flag"), "flag"
    tenants = _tenants(tables.get(_TENANTS_KEY), str(path or DEFAULT_PATH))
    if tenants:
        origins[_TENANTS_KEY] = str(path or DEFAULT_PATH)
    settings = _settings(values, known)
    return TracedSettings(msgspec.structs.replace(settings, engines=engines, tenants=tenants), origins)


def cluster_settings(environ: Mapping[str, str] | None = None, path: Path | None = None) -> ClusterSettings:
    """Return the settings of `[cluster]` alone: a cluster that runs is reached, and stopped, whatever was written into
    other tables since.

    Raises: ConfigInvalid as `load_settings`, for what it reads.
    """
    known = tuple(setting for setting in schema() if setting.section == _CLUSTER)
    tables = {name: table for name, table in _read_toml(path).items() if name == _CLUSTER}
    values: dict[str, object] = {setting.name: setting.default for setting in known}
    values |= _from_toml(tables, known, str(path or DEFAULT_PATH))
    values |= _from_environ(os.environ if environ is None else environ, known)
    return msgspec.convert({setting.key: values[setting.name] for setting in known}, ClusterSettings)


def _settings(values: Mapping[str, object], known: Iterable[Setting]) -> Settings:
    sections: dict[str, dict[str, object]] = {}
    for setting in known:
        sections.setdefault(setting.section, {})[setting.key] = values[setting.name]
    return msgspec.convert(sections, Settings)


def _read_toml(path: Path | None) -> dict[str, object]:
    if path is None and not DEFAULT_PATH.exists():
        return {}
    try:
        return tomllib.loads((path or DEFAULT_PATH).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"cannot read {path or DEFAULT_PATH}: {error}", "Name a readable TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{path or DEFAULT_PATH} is no TOML: {error}", "Mend that line.") from error


def _from_toml(tables: Mapping[str, object], known: tuple[Setting, ...], origin: str) -> dict[str, object]:
    by_name = {setting.name: setting for setting in known}
    sections = {setting.section for setting in known} | {_ENGINES_KEY, _TENANTS_KEY}
    found: dict[str, object] = {}
    for section, table in tables.items():
        if section not in sections:
            raise _unknown(section, sections, origin, "section")
        if section in (_ENGINES_KEY, _TENANTS_KEY):
            continue
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{origin}: {section} is a table of settings", f"Write [{section}] on a line alone.")
        for key, value in table.items():
            name = f"{section}.{key}"
            if name not in by_name:
                raise _unknown(name, by_name, origin)
            found[name] = _converted(value, by_name[name], origin, strict=True)
    return found


def _from_environ(environ: Mapping[str, str], known: tuple[Setting, ...]) -> dict[str, object]:
    by_env_name = {setting.env_name: setting for setting in known}
    prefixes = tuple({f"SAGE_{setting.section.upper()}_" for setting in known})
    found: dict[str, object] = {}
    for env_name, text in environ.items():
        setting = by_env_name.get(env_name)
        if setting is not None:
            found[setting.name] = _converted(text, setting, env_name, strict=False)
        elif env_name.startswith(prefixes) or _is_misspelt(env_name, by_env_name):
            raise _unknown(env_name, by_env_name, "environment")
    return found


def _is_misspelt(env_name: str, known: Iterable[str]) -> bool:
    """Other programs have names in SAGE_ too (SageMath's SAGE_ROOT): only what nearly is a setting is one misspelt."""
    return env_name.startswith("SAGE_") and bool(difflib.get_close_matches(env_name, known, n=1, cutoff=0.85))


def _from_flags(flags: Mapping[str, object], known: tuple[Setting, ...]) -> dict[str, object]:
    by_name = {setting.name: setting for setting in known}
    found: dict[str, object] = {}
    for name, value in flags.items():
        if value is None or name == _ENGINES_KEY:
            continue
        if name not in by_name:
            raise _unknown(name, by_name, "flag")
        found[name] = _converted(value, by_name[name], "flag", strict=False)
    return found


def _converted(value: object, setting: Setting, origin: str, *, strict: bool) -> object:
    try:
        converted: object = msgspec.convert(value, setting.type, strict=strict)
    except msgspec.ValidationError as error:
        what = f"{origin}: {setting.name} = {value!r}: {error}"
        raise ConfigInvalid(what, f"{setting.name} is: {setting.description}.", param=setting.name) from error
    return converted


def _engines(tables: object, origin: str) -> tuple[EngineSettings, ...]:
    keys = [setting.key for setting in engine_schema()]
    engines = tuple(
        _table(table, EngineSettings, _ENGINES_KEY, keys, origin) for table in _list(tables, "engine", origin)
    )
    _check_names([engine.name for engine in engines], _ENGINES_KEY, origin)
    return engines


def _tenants(tables: object, origin: str) -> tuple[TenantSettings, ...]:
    keys = [setting.key for setting in tenant_schema()]
    tenants = tuple(
        _table(table, TenantSettings, _TENANTS_KEY, keys, origin) for table in _list(tables, "tenant", origin)
    )
    _check_names([tenant.name for tenant in tenants], _TENANTS_KEY, origin)
    return tenants


def _list(tables: object, key: str, origin: str) -> Sequence[object]:
    if tables is None:
        return ()
    if not isinstance(tables, list | tuple):
        raise ConfigInvalid(f"{origin}: {key} is a list of tables", f"Write [[{key}]] on a line alone.")
    return tables


def _check_names(names: list[str], key: str, origin: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigInvalid(f"{origin}: two {key}s are named {name!r}", f"Give each {key} a name of its own.")


def _table(table: object, struct: type[S], key: str, keys: list[str], origin: str) -> S:
    for found in table if isinstance(table, dict) else ():
        if found not in keys:
            raise _unknown(f"{key}.{found}", [f"{key}.{known}" for known in keys], origin)
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{origin}: [[{key}]] {table!r}: {error}", f"Its keys are {', '.join(keys)}.") from error


def _unknown(name: str, known: Iterable[str], origin: str, noun: str = "setting") -> ConfigInvalid:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    do = f"Did you mean {nearest[0]}?" if nearest else f"Known: {', '.join(sorted(known))}."
    return ConfigInvalid(f"{origin}: no {noun} is named {name}", do, param=name)


def _env_name(name: str) -> str:
    return f"SAGE_{name.replace('.', '_')}".upper()
