"""Limits of control groups, of both versions: the tightest up to the root holds."""

import pytest

from cluster.jobs.cgroup import GroupLimits, limits_of_groups

ROOT = "/sys/fs/cgroup"
V2 = {"/proc/self/cgroup": "0::/user/job\n"}
V1 = {"/proc/self/cgroup": "4:memory:/job\n3:cpuset:/\n1:cpu,cpuacct:/job\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, GroupLimits()),
        ({f"{ROOT}/memory.max": "1000\n", f"{ROOT}/cpu.max": "50000 100000\n"}, GroupLimits(0.5, 1000)),
        ({**V2, f"{ROOT}/user/job/cpu.max": "max 100000", f"{ROOT}/user/job/memory.max": "max"}, GroupLimits()),
        ({**V2, f"{ROOT}/user/job/cpu.max": "150000 100000", f"{ROOT}/user/memory.max": "9"}, GroupLimits(1.5, 9)),
        ({**V2, f"{ROOT}/user/job/memory.max": "700", f"{ROOT}/user/memory.max": "500"}, GroupLimits(None, 500)),
        ({**V2, f"{ROOT}/user/job/cpu.max": "no number", f"{ROOT}/memory.max": ""}, GroupLimits()),
        (
            {
                **V1,
                f"{ROOT}/memory/job/memory.limit_in_bytes": "800\n",
                f"{ROOT}/memory/memory.limit_in_bytes": "9223372036854771712\n",
                f"{ROOT}/cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
                f"{ROOT}/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            GroupLimits(2.0, 800),
        ),
        (
            {
                **V1,
                f"{ROOT}/cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n",
                f"{ROOT}/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            GroupLimits(),
        ),
    ],
)
def test_limits(files: dict[str, str], limits: GroupLimits) -> None:
    assert limits_of_groups(files.get) == limits
