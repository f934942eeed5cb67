"""The plane that settings describe. Drives none."""

from collections.abc import Iterable

from cluster.serving.patience import patience_from_settings
from cluster.serving.plane import Plane
from sage.base.clock import SystemClock, unix_s_at_zero
from sage.base.settings import PlaneSettings, TenantSettings


def plane_from_settings(
    known_models: Iterable[str], settings: PlaneSettings, tenants: Iterable[TenantSettings] = ()
) -> Plane:
    """Return a plane as a `[plane]` table and `[[tenant]]` tables have it; raises UnknownPolicy."""
    return Plane(
        known_models,
        policy=settings.policy,
        route=settings.route,
        admission=settings.admission,
        window=settings.window,
        max_waiting=settings.max_waiting,
        tenants=tenants,
        unix_s_at_zero=unix_s_at_zero(SystemClock()),
        patience=patience_from_settings(settings),
    )
