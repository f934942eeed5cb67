"""The flow that FILE[:FLOW] on a command line means. Knows nothing of what is done with it."""

import shlex

import typer

from cluster.commands.show import print_table
from cluster.jobs.flow_file import flows_in, pick, split_target
from sage.flow.flow import Flow


def chosen_flow(target: str, command: str) -> Flow:
    """Return the flow that `target` means; where that is unclear, list the flows as `command` takes them, and exit 2.

    Raises FlowInvalid, with the user's frames, where the file cannot be imported.
    """
    file, wanted = split_target(target)
    if not file.is_file():
        raise typer.BadParameter(f"{file} is no file", param_hint="FILE[:FLOW]")
    flows = flows_in(file)
    flow = pick(flows, wanted)
    if flow is not None:
        return flow
    if not flows:
        raise typer.BadParameter(f'{file} has no flow at its top level: flow = sage.Flow("name")', param_hint="FILE")
    found = f"{file} has no flow {wanted!r}" if wanted else f"{file} has {len(flows)} flows, name one"
    print(f"{found}:")
    print_table(
        [("RUN", "NAME"), *((f"{command} {shlex.quote(f'{file}:{name}')}", flow.name) for name, flow in flows.items())]
    )
    raise typer.Exit(2)
