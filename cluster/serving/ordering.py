"""Names of policies and routes, looked at before they come to a plane. Knows no plane."""

from cluster.serving.names import unknown
from cluster.serving.policy import POLICY_NAMES
from cluster.serving.routes import ROUTE_NAMES


def check_names(policy: str | None, route: str | None) -> None:
    """Raise UnknownPolicy, with the nearest name, for one that there is not; None is nobody's name and passes."""
    if policy is not None and policy not in POLICY_NAMES:
        raise unknown("policy", policy, POLICY_NAMES, plural="policies", param="policy")
    if route is not None and route not in ROUTE_NAMES:
        raise unknown("route", route, ROUTE_NAMES, plural="routes", param="route")
