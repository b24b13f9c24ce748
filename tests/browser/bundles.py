"""Web apps as their authors would write them: made into one script with the packages that they pin, and served."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from local.web import DIST

APPS = Path(__file__).parent / "apps"
WEBAPP = DIST.parent
HTML = '<!doctype html><div id="root"></div><script type="module" src="script"></script>'


def bundle(app: Path, packages: Path, *, into: Path) -> str:
    """The app and its packages as one script, by way of a file in *into*."""
    if not packages.exists():
        pytest.fail(f"no {packages}: make test installs it")
    script = into / f"{app.stem}.js"
    esbuild = WEBAPP / "node_modules" / ".bin" / "esbuild"
    command = [esbuild, app, "--bundle", "--format=esm", "--jsx=automatic", "--log-level=error", f"--outfile={script}"]
    environment = {"NODE_PATH": str(packages), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    subprocess.run(command, check=True, env=environment, timeout=60)
    return script.read_text()


def serve(page: Page, script: str) -> str:
    """Serve the app to this page beside the backend that issues its tokens; returns the path."""

    def answer(route: Route) -> None:
        if route.request.url.endswith("script"):
            route.fulfill(body=script, content_type="text/javascript")
        else:
            route.fulfill(body=HTML, content_type="text/html")

    page.route("**/_app/*", answer)
    return "/_app/page"
