"""The README's picture, of a lab in JupyterLab, in light and in dark: ``make pictures`` takes it anew, in some minutes."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from labkit.config.settings import find_root
from labkit.lab import Lab

from .jupyterlab import colour, opened

PICTURES = find_root(Path(__file__)) / "docs" / "pictures"
LAB, FROM = "05-access", 'dev.kubectl("delete", "namespace"'


def main() -> None:
    """Run the lab in a state folder of its own, and keep what is in sight from one place on."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as jupyterlab:
        Lab.open().up()
        page = jupyterlab.open(LAB)
        jupyterlab.run_all(page, LAB)
        page.set_viewport_size({"width": 1366, "height": 1000})
        page.locator(".jp-CodeCell", has_text=FROM).evaluate("place => place.scrollIntoView()")
        PICTURES.mkdir(exist_ok=True)
        for scheme in ("light", "dark"):
            colour(page, scheme)
            # Playwright's own screenshots can't be WebP.
            taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 80})
            (PICTURES / f"lab-{scheme}.webp").write_bytes(base64.b64decode(taken["data"]))
    print("✔ wrote docs/pictures")


if __name__ == "__main__":
    main()
