"""A seat's server in the view's tests: works a little on a lab, as a learner's notebook does, and answers the Hub.

In a rehearsal it is a whole JupyterLab.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from labkit.common.display import Finding, Findings
from labkit.common.problems import problem
from labkit.course.steps import LABS, STEPS, progress
from labkit.lab import Lab

name, folder = os.environ["JUPYTERHUB_USER"], Path.cwd()
os.environ["LABKIT_HOME"] = str(folder / "lab")
if name.startswith("rehearsal"):
    os.execv(sys.executable, [sys.executable, "-P", "-m", "jupyterhub.singleuser", "--ServerApp.ip=localhost", "--allow-root"])
(folder / "token").write_text(os.environ["JUPYTERHUB_API_TOKEN"])
lab = Lab.open()
progress.note_begun(lab, LABS[1])
progress.note(lab, "keycloak", Findings(STEPS["keycloak"].title, (Finding(True, "it runs"),)))
if name == "anna":
    progress.note(lab, "realm", Findings(STEPS["realm"].title, (Finding(True, "one"), Finding.of(problem("realm-missing")))))
    progress.note_opened(lab, "auditor", "hint")
    progress.note_help(lab, wanted=True)
    progress.note_doctor(lab, ["keycloak-down"])


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port or 0), Answer).serve_forever()
