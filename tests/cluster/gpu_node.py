"""A node whose GPUs are those of a fake NVML, steered by files: `python -m tests.cluster.gpu_node CONFIG FOLDER UUIDS`.

A file FOLDER/UUID.xid has its number reported as an XID error; while there is FOLDER/UUID.gone the GPU is unplugged.
"""

import sys
from pathlib import Path

import msgspec

from cluster.jobs.nvml import Nvml
from cluster.node.config import NodeConfig
from cluster.node.process import NodeProcess
from sage.base.log import set_up_log
from tests.unit.jobs.fake_nvml import Event, FakeGpu, FakeNvml


class SteeredNvml(FakeNvml):
    """Looks at its files whenever it is asked how many GPUs there are, or for errors."""

    def __init__(self, folder: Path, uuids: list[str]) -> None:
        super().__init__()
        self._folder = folder
        self._all = [FakeGpu(uuid) for uuid in uuids]

    def nvmlDeviceGetCount(self) -> int:
        self.gpus = [gpu for gpu in self._all if not (self._folder / f"{gpu.uuid}.gone").exists()]
        return super().nvmlDeviceGetCount()

    def nvmlEventSetWait_v2(self, eventSet: object, timeoutms: int) -> Event:
        for gpu in self._all:
            if (file := self._folder / f"{gpu.uuid}.xid").exists():
                self.report(gpu, int(file.read_text()))
                file.unlink()
        return super().nvmlEventSetWait_v2(eventSet, timeoutms)


def main() -> int:
    config, folder, uuids = sys.argv[1:]
    node_config = msgspec.json.decode(config, type=NodeConfig)
    set_up_log(node_config.settings.log)

    def find_gpus() -> Nvml:
        return SteeredNvml(Path(folder), uuids.split(","))

    return NodeProcess(node_config, find_gpus=find_gpus).run()


if __name__ == "__main__":
    sys.exit(main())
