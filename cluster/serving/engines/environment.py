"""What the environment of an engine host says of its devices. Pure."""

from collections.abc import Iterable

VISIBLE = "CUDA_VISIBLE_DEVICES"


def environment_for(gpu_ids: Iterable[str]) -> dict[str, str]:
    """Return what makes a process see these devices, by UUID, and no other; none where there are none.

    >>> environment_for(["GPU-1", "GPU-2"])["CUDA_VISIBLE_DEVICES"]
    'GPU-1,GPU-2'
    >>> environment_for([])["CUDA_VISIBLE_DEVICES"]
    ''
    """
    return {VISIBLE: ",".join(gpu_ids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
