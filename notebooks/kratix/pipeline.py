"""What Kratix runs for each request of a team's namespace: it writes the objects to make, and says in the status what it did."""

from __future__ import annotations

import kratix_sdk as ks
import yaml


def main() -> None:
    """Read the request, write the namespace and its quota, write the status; the folders are Kratix's own."""
    sdk = ks.KratixSDK()
    request = sdk.read_resource_input()
    team, cpus = request.get_value("spec.team"), request.get_value("spec.cpus", default=2)
    name = f"team-{team}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"platform.example/team": team}}}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": name},
        "spec": {"hard": {"requests.cpu": str(cpus)}},
    }
    sdk.write_output("namespace.yaml", yaml.safe_dump_all([namespace, quota], sort_keys=False).encode())
    status = ks.Status()
    status.set("message", f"namespace {name} with {cpus} processors")
    sdk.write_status(status)


if __name__ == "__main__":
    main()
