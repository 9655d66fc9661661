"""JupyterLab of a seat: JupyterHub's own ``jupyterhub-singleuser``, which asks the Hub by HTTPS, by the room's authority."""

from __future__ import annotations

import os
import sys

own = {name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ}
os.environ["SSL_CERT_FILE"] = os.environ["LABKIT_KEYCLOAK_CA"]
# aiohttp reads only here whom it trusts: what learners run goes on to trust whom this machine trusts.
from jupyterhub.singleuser import main  # noqa: E402

del os.environ["SSL_CERT_FILE"]
os.environ |= own
sys.exit(main())
