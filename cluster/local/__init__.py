"""The whole house in this process: job manager, one node and, for flows that ask models, the control plane."""

from cluster.local.cluster import LocalCluster, connect

__all__ = ["LocalCluster", "connect"]
