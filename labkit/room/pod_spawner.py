"""A seat as a pod, by kubespawner, which only the image of a room on Kubernetes has."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from urllib.parse import urlsplit

from kubespawner import KubeSpawner

from .pods import PodRoom
from .seats import prepare_seat, remove_seat

_room = cache(PodRoom)


class SeatPod(KubeSpawner):  # type: ignore[misc] # kubespawner has no types
    """A seat's pod. Its realm comes before it, and goes with its volume when the Hub's user is deleted."""

    async def run_pre_spawn_hook(self) -> None:
        """Have the seat's realm, and lead the pod there."""
        name = self.user.name
        secret = await asyncio.to_thread(prepare_seat, _room().keycloak, name)
        self.environment.update(_room().environment(name, secret))
        # The room's address leads to its proxy within the cluster too, whatever its name servers say.
        proxy = {"ip": os.environ["PROXY_PUBLIC_SERVICE_HOST"], "hostnames": [urlsplit(os.environ["LABKIT_ROOM_URL"]).hostname]}
        self.extra_pod_config["hostAliases"] = [proxy]

    async def delete_forever(self) -> None:
        """Remove the realm, and what kubespawner removes."""
        await asyncio.to_thread(remove_seat, _room().keycloak, self.user.name)
        await super().delete_forever()
