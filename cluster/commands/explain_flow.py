"""Print how a flow would run, and run nothing. Knows no command."""

from typing import TYPE_CHECKING

from cluster.commands.checkpoint_options import StateChoice
from cluster.commands.show import print_json

if TYPE_CHECKING:
    from sage.flow.graph import Graph


def explain_flow(graph: "Graph", state: StateChoice, *, is_here: bool, json: bool) -> None:
    """Explain the plan, and where it runs as far as that is known here: a cluster decides when it is submitted."""
    from cluster.local.explain import explain_here
    from sage.base.config import load_settings
    from sage.flow.explained import explain
    from sage.flow.plan import plan_from_graph

    plan = plan_from_graph(graph)
    explained = explain(plan, explain_here(plan, load_settings()) if is_here else (), state.value)
    if json:
        print_json(explained)
        return
    print(explained)
    if not is_here:
        print("\nThe cluster decides which node runs what, once it is submitted: sage-cluster job ID --explain")
