"""Where the tasks of a plan would run on this machine alone, and why. Starts nothing."""

from cluster.jobs.devices import Wish
from cluster.jobs.explain import explain
from cluster.jobs.machine import ThisMachine
from cluster.jobs.nvml import find_nvml
from cluster.jobs.parts import parts_from_tasks
from cluster.jobs.placement import Strategy, place
from cluster.jobs.tasks import tasks_from_plan
from sage.base.demand import labels_from_text
from sage.base.errors import NoRoom
from sage.base.ids import JobId, NodeId
from sage.base.settings import Settings
from sage.flow.plan import Plan

NODE_ID = NodeId("local")
"""The one node of a cluster in this process."""


def machine_here(settings: Settings) -> ThisMachine:
    """Return this machine as it is offered by these settings; its owner closes it."""
    return ThisMachine(Wish(labels=labels_from_text(settings.node.labels)), find_nvml())


def explain_here(plan: Plan, settings: Settings) -> list[str]:
    """Return a line for each task, or one that says what is missing."""
    machine = machine_here(settings)
    try:
        offers = {NODE_ID: machine.look()}
    finally:
        machine.close()
    parts = parts_from_tasks(tasks_from_plan(JobId("job"), plan))
    try:
        return explain(place(parts, offers, strategy=Strategy(settings.jobs.placement)))
    except NoRoom as refusal:
        return [f"no room: {refusal.what}"]
