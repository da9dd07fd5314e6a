"""Serves the explorer, on this machine alone.

A bokeh server: its callbacks run here, so that the page shows what the model itself computes.
"""

import functools
import logging
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from vae_jax.api.arguments import refuse_lines
from vae_jax.api.folders import load
from vae_jax.api.frames import result_rows
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.pages.charts import WIDGETS, bokeh
from vae_jax.pages.explorer import Explorer
from vae_jax.reports.columns import best_lanes
from vae_jax.reports.table import folder_name

TEMPLATE = Path(__file__).with_name("explorer.html")


def serve(workdir: Path, port: int, address: str = "localhost") -> None:
    """Serves the page until the process is stopped; prints its address.

    Raises:
      UserError: no trained run there; no bokeh; the port is taken.
    """
    bokeh()
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server

    # It warns that requests may be from anywhere: the token is what keeps others out.
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)
    lanes = lane_numbers(workdir)
    # What is wrong with the folder is said before anything is served.
    first = load(workdir, lanes[0]).run
    refuse_lines("the explorer", first)
    token = secrets.token_urlsafe(12)
    application = Application(FunctionHandler(functools.partial(build, workdir, lanes)))
    try:
        server = Server(
            {f"/{token}": application},
            port=port,
            address=address,
            # Who does not know the token finds no page, wherever the request is from.
            allow_websocket_origin=["*"],
            # Neither the root nor an index tells it.
            redirect_root=False,
            use_index=False,
        )
    except OSError as error:
        raise UserError(
            f"port {port} of {address} can't be used ({error.strerror}); --port takes another"
        ) from error
    server.start()
    print(f"http://{address}:{server.port}/{token}", flush=True)
    print("Ctrl-C stops it", file=sys.stderr, flush=True)

    def stop(number: int, frame: Any) -> None:
        server.io_loop.add_callback_from_signal(server.io_loop.stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.io_loop.start()
    server.stop()


def lane_numbers(workdir: Path) -> list[int]:
    """The lanes, the best by validation first."""
    if kind_of(workdir) is Kind.SEARCH or not (workdir / folder.RESULTS).exists():
        return [load(workdir).lane]
    rows = result_rows(workdir)
    order = [row["lane"] for row in best_lanes(rows)]
    return [*order, *(row["lane"] for row in rows if row["lane"] not in order)] or [0]


def build(workdir: Path, lanes: list[int], document: Any) -> None:
    """Fills a bokeh document with the page."""
    models, layouts = bokeh().models, bokeh().layouts
    choice = models.Select(
        title="lane", value=str(lanes[0]), options=[str(lane) for lane in lanes], width=110,
        stylesheets=[WIDGETS],
    )  # fmt: skip
    content = layouts.column(sizing_mode="stretch_width")

    def show(attr: str, old: Any, new: str) -> None:
        content.children = [Explorer(load(workdir, int(new))).layout]

    choice.on_change("value", show)
    show("value", None, choice.value)
    document.add_root(layouts.column(choice, content, sizing_mode="stretch_width"))
    document.title = f"{folder_name(workdir)}: explorer"
    document.template = TEMPLATE.read_text()
    document.template_variables["heading"] = document.title
