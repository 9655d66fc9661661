"""A class on Kubernetes, from its installation to its end, in this order."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from labkit.common.display import OK
from labkit.config.settings import find_root
from labkit.config.state_folder import StateFolder
from labkit.course.steps import LABS

from ..jupyterlab import await_all, await_kernel, draw_all_cells, start_all, trouble
from ..rooms import come_with, start_seat
from .conftest import Cluster

PEOPLE = ("anna", "ben", "carla")
RUN = LABS[1:4]
STATE = StateFolder(Path("/home/learner/lab"))

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def people(room: Cluster, browser: Browser) -> dict[str, BrowserContext]:
    """Three people and the instructor, who have signed in at once, with passwords of their own."""
    room.kubectl("exec", "deployment/hub", "--", "labkit", "room", "add", *PEOPLE)
    cards = json.loads(room.kubectl("exec", "deployment/hub", "--", "cat", "/srv/jupyterhub/labkit/room/people.json"))
    everybody = (*PEOPLE, "instructor")
    return dict(zip(everybody, come_with(cards, browser, room, *everybody), strict=True))


def test_people_work_at_once_and_the_instructor_sees_them(room: Cluster, people: dict[str, BrowserContext], tmp_path: Path) -> None:
    began = time.monotonic()
    pages = {name: start_seat(people[name], room, name) for name in PEOPLE}
    print(f"JupyterLab of all after {time.monotonic() - began:.0f} s")
    draw_all_cells(tmp_path)
    for file in tmp_path.rglob("*.jupyterlab-settings"):
        for name in PEOPLE:
            to = STATE.jupyter / file.relative_to(tmp_path)
            room.in_seat(name, "/bin/sh", "-c", f"mkdir -p {to.parent} && cat >{to}", given=file.read_text())
    for lab in RUN:
        began = time.monotonic()
        for name, page in pages.items():
            page.goto(f"{room.url}/user/{name}/lab/workspaces/{lab.name}/tree/{lab.name}.ipynb")
            await_kernel(page)
            start_all(page)
        for name, page in pages.items():
            await_all(page, find_root() / "notebooks" / f"{lab.name}.ipynb")
            assert trouble(page) == [], name
        print(f"{lab.name}: {time.monotonic() - began:.0f} s")
    board = people["instructor"].new_page()
    board.goto(f"{room.url}/services/view/")
    for name, page in pages.items():
        expect(board.get_by_role("row").filter(has_text=name).first).to_contain_text(OK)
        # An open page is work to the Hub.
        page.close()
    board.close()
