"""People sign in to a room at once, run labs 01 to 03 in JupyterLab, and the instructor sees them: `make test-room`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from labkit.common.display import OK
from labkit.config.state_folder import StateFolder, open_state_folder
from labkit.course.steps import LABS

from ..jupyterlab import await_all, await_kernel, draw_all_cells, start_all, trouble
from ..rooms import come, room_of, start_seat, trusting
from ..support import wait_for

PEOPLE = [f"person-{number}" for number in range(int(os.environ.get("ROOM_PEOPLE", "8")))]
RUN = LABS[1:4]


@pytest.mark.timeout(3600)
def test_people_work_at_once_and_the_instructor_sees_them(tmp_path: Path) -> None:
    with room_of(tmp_path, *PEOPLE) as room, trusting(room, tmp_path / "browser") as browser:
        folders = {name: room.settings.folder / "seats" / name for name in PEOPLE}
        for folder in folders.values():
            open_state_folder(folder / "lab", environ={}, free_ports=True)
            draw_all_cells(StateFolder(folder / "lab").jupyter)
        contexts = dict(zip(PEOPLE, come(browser, room, *PEOPLE), strict=True))
        pages = {name: start_seat(context, room, name) for name, context in contexts.items()}
        for lab in RUN:
            for name, page in pages.items():
                page.goto(f"{room.url}/user/{name}/lab/workspaces/{lab.name}/tree/{lab.name}.ipynb")
                await_kernel(page)
                start_all(page)
            for name, page in pages.items():
                await_all(page, folders[name] / "work" / f"{lab.name}.ipynb")
                assert trouble(page) == [], name
        (instructor,) = come(browser, room, "instructor")
        steps = [step.name for lab in RUN for step in lab.steps if not step.exercise]

        def all_done() -> bool:
            seats = instructor.request.get(f"{room.url}/services/view/board.json").json()["seats"]
            done = [seat for seat in seats if all(seat["steps"].get(step, {}).get("state") == "done" for step in steps)]
            return {seat["name"] for seat in done} == set(PEOPLE)

        wait_for(all_done)
        board = instructor.new_page()
        board.goto(f"{room.url}/services/view/")
        for name in PEOPLE:
            expect(board.get_by_role("row").filter(has_text=name).first).to_contain_text(OK)
