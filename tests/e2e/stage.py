"""The surface alone on a page, with a server that says what a test wants: quick, and for every kind of task.

The modules and the browser are real; only Streamlit's part, `{data, parentElement, setTriggerValue}`, is played. What
the surface sends is kept on the page (`sent`), and answered as the server would answer it.
"""

import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from playwright.sync_api import Browser, Page

from annotator.assets import COMPONENT, find_katex, style_sheet

PAGE = Path(__file__).parent / "surface.html"

_MOUNT = """
async ({ data, katex }) => {
  const { mount } = await import("/component/surface.js");
  const parentElement = document.querySelector("#surface");
  window.sent = [];
  window.submissions = [];
  window.data = {
    assets: "", katex, scope: "stage", math_mode: "auto", acknowledged: [], fill_command: "stepmark queue add",
    guideline: "test-1", guidelines: { "test-1": { sections: [] } },
    counts: { answered: 0, left: data.tasks.length }, ...data,
  };
  window.show = () => mount({ data: window.data, parentElement, setTriggerValue: (name, value) => {
    window.sent.push(value);
    for (const submission of value.outbox) {
      if (window.submissions.some(({ submission_id: id }) => id === submission.submission_id)) continue;
      window.submissions.push(submission);
      window.data.acknowledged.push({ submission_id: submission.submission_id, status: "stored", message: "" });
      window.data.tasks = window.data.tasks.filter(({ task_id: id }) => id !== submission.task_id);
    }
    if (value.outbox.length) queueMicrotask(window.show);
  } });
  window.show();
}
"""


class _Handler(SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
    }

    def translate_path(self, path: str) -> str:
        path = path.split("?")[0]
        katex = find_katex()
        if path.startswith("/component/"):
            return str(COMPONENT / path.removeprefix("/component/"))
        if path.startswith("/katex/") and katex is not None and katex.directory is not None:
            return str(katex.directory / path.removeprefix("/katex/"))
        return str(PAGE)

    def do_GET(self) -> None:
        if self.path == "/surface.css":
            body = style_sheet().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/css")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class Stage:
    """A small local server for the page; `put` shows tasks on it."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.port: int = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, page: Page, *tasks: dict[str, Any], **data: Any) -> None:
        """Opens the page and mounts the surface with these tasks at hand."""
        page.goto(f"{self.address}/")
        katex = {"module": "/katex/katex.mjs", "css": "/katex/katex.min.css"}
        page.evaluate(_MOUNT, {"data": {"tasks": list(tasks), **data}, "katex": katex})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def submissions(page: Page) -> list[dict[str, Any]]:
    """What was submitted, in order."""
    found: list[dict[str, Any]] = json.loads(page.evaluate("JSON.stringify(window.submissions)"))
    return found


def watched(browser: Browser, stage: Stage, **options: Any) -> Iterator[Page]:
    """A page of its own storage, on which nothing may go wrong and no other host may be asked for anything."""
    complaints: list[str] = []
    context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
    page = context.new_page()
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: request.url.startswith(stage.address) or complaints.append(request.url))
    yield page
    context.close()
    assert complaints == []
