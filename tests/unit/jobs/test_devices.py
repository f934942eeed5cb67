"""What a node offers: limits of containers, GPUs as NVML has them, and which of them are out of use and why."""

import os
import queue

import pynvml
import pytest

from cluster.jobs.cgroup import GroupLimits
from cluster.jobs.devices import GpuReading, Offering, Readings, Wish, Xid
from cluster.jobs.gpu_memory import STEP_BYTES
from cluster.jobs.machine import ThisMachine, offer_of_machine
from cluster.jobs.machine_watch import MachineWatch
from cluster.runtime.actor import stop
from sage.base.clock import SystemClock
from sage.base.errors import ConfigInvalid
from sage.base.offer import NodeOffer
from tests.unit.jobs.fake_nvml import FakeGpu, FakeNvml, FakeSlice, Process

DEADLINE_S = 10.0
GIB = 1 << 30


def faults(offer: NodeOffer) -> dict[str, str]:
    return {gpu.index: gpu.fault for gpu in offer.gpus}


def machine(*gpus: FakeGpu, wish: Wish = Wish()) -> tuple[FakeNvml, ThisMachine]:
    nvml = FakeNvml(list(gpus))
    return nvml, ThisMachine(wish, nvml)


@pytest.mark.parametrize(
    ("readings", "wish", "offer"),
    [
        (Readings(8, 64), Wish(), NodeOffer(8.0, 64)),
        (Readings(8, 64, GroupLimits(2.5, 32)), Wish(), NodeOffer(2.5, 32)),
        (Readings(2, 64, GroupLimits(16.0, 1 << 62)), Wish(), NodeOffer(2.0, 64)),
        (Readings(2, 64), Wish(cpus=0.5, labels=(("zone", "a"),)), NodeOffer(0.5, 64, labels=(("zone", "a"),))),
        (Readings(2, 64, gpus=(GpuReading("G", "0", "H100", 80, "G"),)), Wish(num_gpus=0), NodeOffer(2.0, 64)),
    ],
)
def test_the_tightest_limit_and_the_owners_wish_make_the_offer(
    readings: Readings, wish: Wish, offer: NodeOffer
) -> None:
    assert Offering(wish).offer(readings) == offer


def test_this_machine_has_something_to_offer() -> None:
    offer = offer_of_machine()
    assert offer.cpus > 0
    assert offer.memory_bytes > 0


@pytest.mark.parametrize("old_bindings", [False, True])
def test_gpus_are_offered_with_name_memory_and_uuid(old_bindings: bool) -> None:
    nvml, here = machine(FakeGpu("GPU-a"), FakeGpu("GPU-b", "NVIDIA L4", 24 * GIB))
    nvml.old_bindings = old_bindings
    gpus = here.look().gpus
    assert [(gpu.id, gpu.index, gpu.type, gpu.memory_bytes) for gpu in gpus] == [
        ("GPU-a", "0", "NVIDIA H100 80GB HBM3", 80 * GIB),
        ("GPU-b", "1", "NVIDIA L4", 24 * GIB),
    ]
    here.close()
    assert (nvml.num_open, nvml.num_event_sets) == (0, 0)


def test_a_gpu_that_is_cut_up_offers_its_slices_and_not_itself() -> None:
    slices: list[FakeSlice | None] = [FakeSlice("MIG-a", 10 * GIB, (7, 0)), None, FakeSlice("MIG-b", 20 * GIB, (5, 0))]
    _, here = machine(FakeGpu("GPU-a", slices=slices), FakeGpu("GPU-b", slices=[]))
    assert [(gpu.id, gpu.index, gpu.type, gpu.is_slice) for gpu in here.look().gpus] == [
        ("MIG-a", "0:0", "NVIDIA H100 80GB HBM3 MIG 10 GiB", True),
        ("MIG-b", "0:2", "NVIDIA H100 80GB HBM3 MIG 20 GiB", True),
        ("GPU-b", "1", "NVIDIA H100 80GB HBM3", False),
    ]


def test_without_a_driver_there_are_no_gpus_until_it_is_loaded() -> None:
    nvml, here = machine(FakeGpu("GPU-a"))
    nvml.absent = "Driver Not Loaded"
    assert here.look().gpus == ()
    nvml.absent = ""
    assert faults(here.look()) == {"0": ""}
    nvml.absent = "Uninitialized"
    assert faults(here.look()) == {"0": "NVML: Uninitialized"}


@pytest.mark.parametrize(("number", "fault"), [(79, "XID 79"), (48, "XID 48"), (31, ""), (13, ""), (63, ""), (94, "")])
def test_an_xid_error_of_the_fatal_kind_cordons_the_gpu_it_hit(number: int, fault: str) -> None:
    nvml, here = machine(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    here.look()
    nvml.report(nvml.gpus[1], number)
    assert faults(here.look()) == {"0": "", "1": fault}
    assert faults(here.look()) == {"0": "", "1": fault}


def test_an_xid_error_of_one_slice_leaves_the_others_and_one_of_the_gpu_takes_all() -> None:
    slices: list[FakeSlice | None] = [FakeSlice("MIG-a", GIB, (7, 0)), FakeSlice("MIG-b", GIB, (8, 0))]
    nvml, here = machine(FakeGpu("GPU-a", slices=slices))
    here.look()
    nvml.report(nvml.gpus[0], 95, (8, 0))
    assert faults(here.look()) == {"0:0": "", "0:1": "XID 95"}
    nvml.report(nvml.gpus[0], 79)
    assert faults(here.look()) == {"0:0": "XID 79", "0:1": "XID 95"}


def test_many_errors_at_once_are_all_taken() -> None:
    nvml, here = machine(*(FakeGpu(f"GPU-{i}") for i in range(8)))
    here.look()
    for gpu in nvml.gpus:
        nvml.report(gpu, 31)
        nvml.report(gpu, 79)
    assert set(faults(here.look()).values()) == {"XID 79"}


def test_a_gpu_that_is_unplugged_is_missed_and_back_in_use_when_it_returns() -> None:
    nvml, here = machine(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    here.look()
    gone = nvml.gpus.pop(0)
    assert [(gpu.id, gpu.fault) for gpu in here.look().gpus] == [("GPU-a", "it is gone"), ("GPU-b", "")]
    nvml.gpus.append(gone)
    assert [(gpu.id, gpu.fault) for gpu in here.look().gpus] == [("GPU-a", ""), ("GPU-b", "")]


def test_a_gpu_that_has_fallen_off_the_bus_is_missed_and_the_others_are_still_read() -> None:
    nvml, here = machine(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    here.look()
    nvml.report(nvml.gpus[0], 79)
    nvml.gpus[0].error = "GPU is lost"
    assert [(gpu.id, gpu.fault) for gpu in here.look().gpus] == [("GPU-a", "it is gone"), ("GPU-b", "")]


def test_a_gpu_that_does_not_answer_is_out_of_use_for_that_long() -> None:
    nvml, here = machine(FakeGpu("GPU-a"))
    nvml.gpus[0].error = "GPU requires restart"
    assert faults(here.look()) == {"0": "NVML: GPU requires restart"}
    nvml.gpus[0].error = ""
    assert faults(here.look()) == {"0": ""}


def test_a_gpu_that_cannot_report_errors_is_used_all_the_same() -> None:
    nvml, here = machine(FakeGpu("GPU-a"))
    nvml.can_watch = False
    assert faults(here.look()) == {"0": ""}


def test_the_gpus_that_were_chosen_stay_chosen_when_they_break() -> None:
    nvml, here = machine(FakeGpu("GPU-a", error="GPU requires restart"), *map(FakeGpu, "bcd"), wish=Wish(num_gpus=2))
    assert faults(here.look()) == {"1": "", "2": ""}
    nvml.report(nvml.gpus[1], 79)
    assert faults(here.look()) == {"1": "XID 79", "2": ""}


def test_more_gpus_than_are_sound_cannot_be_offered() -> None:
    _, here = machine(FakeGpu("GPU-a", error="GPU requires restart"), FakeGpu("GPU-b"), wish=Wish(num_gpus=2))
    with pytest.raises(ConfigInvalid, match=r"2 GPUs are to be offered, 1 are usable \(GPU 0: NVML: GPU requires res"):
        here.look()
    nvml, here = machine(wish=Wish(num_gpus=1))
    nvml.absent = "Driver Not Loaded"
    with pytest.raises(ConfigInvalid, match=r"0 are usable \(NVML: Driver Not Loaded\)"):
        here.look()


def test_an_xid_of_an_unknown_gpu_is_passed_over() -> None:
    offering = Offering(Wish())
    offering.saw([Xid("GPU-x", 79)])
    assert offering.offer(Readings(1, 1)).gpus == ()


def test_the_watch_tells_of_a_gpu_that_breaks_and_closes_nvml_when_it_ends() -> None:
    nvml, here = machine(FakeGpu("GPU-a"))
    offers: queue.SimpleQueue[NodeOffer] = queue.SimpleQueue()
    watch = MachineWatch.start(here, here.look(), offers.put, SystemClock(), every_s=0.001)
    nvml.report(nvml.gpus[0], 79)
    assert faults(offers.get(timeout=DEADLINE_S)) == {"0": "XID 79"}
    assert stop([watch], timeout_s=DEADLINE_S) == []
    assert offers.empty()
    assert (nvml.num_open, nvml.num_event_sets) == (0, 0)


def test_what_other_programs_hold_of_a_gpu_is_said_and_what_comes_from_this_process_is_not_theirs() -> None:
    gpu = FakeGpu("GPU-a", used_bytes=GIB // 2)
    _, here = machine(gpu)
    assert held(here) == [GIB // 2]
    gpu.processes = [Process(os.getpid(), 8 * GIB), Process(1, 2 * GIB)]
    gpu.used_bytes = GIB // 2 + 10 * GIB
    assert held(here) == [GIB // 2 + 2 * GIB]
    gpu.processes, gpu.used_bytes = gpu.processes[:1], GIB // 2 + 8 * GIB
    assert held(here) == [GIB // 2]


def test_of_a_slice_what_is_held_is_its_own() -> None:
    piece = FakeSlice("MIG-a", 10 * GIB, (7, 0), used_bytes=1, processes=[Process(1, 1)])
    _, here = machine(FakeGpu("GPU-a", slices=[piece], used_bytes=70 * GIB))
    assert held(here) == [STEP_BYTES]


def test_where_nvml_names_no_processes_what_is_ours_is_not_taken_for_theirs() -> None:
    gpu = FakeGpu("GPU-a", used_bytes=3 * GIB)
    nvml, here = machine(gpu)
    nvml.tells_processes = False
    assert held(here) == [3 * GIB]
    gpu.used_bytes = 50 * GIB
    assert held(here) == [3 * GIB]
    gpu.used_bytes = GIB
    assert held(here) == [GIB]


def held(machine: ThisMachine) -> list[int]:
    return [gpu.held_bytes for gpu in machine.look().gpus]


def test_the_fake_has_what_the_real_bindings_have() -> None:
    names = [name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(names) > 12
    assert not [name for name in names if not hasattr(pynvml, name)]
    assert pynvml.nvmlEventTypeXidCriticalError == FakeNvml().nvmlEventTypeXidCriticalError
