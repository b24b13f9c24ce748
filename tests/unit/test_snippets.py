"""What docs/migration.md shows: the tests' apps are made of it, it fits both generations, and its tokens are good."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.fakes import secret
from threadbox.sessions import LONGEST_LIFE, SessionVerifier

ROOT = Path(__file__).parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
PAGE = ROOT / "docs" / "migration.md"
CONNECT = ROOT / "docs" / "connect.md"
WEBAPP = ROOT / "webapp"
APPS = ROOT / "tests" / "browser" / "apps"
TOOLS = WEBAPP / "node_modules" / ".bin"
PACKAGES = {"newest": WEBAPP, "older": APPS / "older", "assistant": APPS / "assistant"}
BLOCK = re.compile(r"^```(?:ts|tsx|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEY = {"kid": "k1", "key": "a key of no less than thirty-two bytes"}


@pytest.fixture(scope="module", autouse=True)
def installed():
    missing = [str(each) for each in PACKAGES.values() if not (each / "node_modules").exists()]
    if missing:
        pytest.fail(f"no node_modules in {', '.join(missing)}: make test installs them")


def run(*command, node_path=None, cwd=ROOT):
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **({"NODE_PATH": str(node_path)} if node_path else {})}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pinned(generation):
    return json.loads((PACKAGES[generation] / "package.json").read_text())["dependencies"]


def test_page_shows_the_snippets_as_they_are():
    """Every block of code on it is a whole file, and every file is on it."""
    shown = BLOCK.findall(PAGE.read_text())
    assert sorted(path.read_text() for path in SNIPPETS.iterdir() if path.is_file()) == sorted(shown)


def test_page_for_new_apps_makes_the_same_tokens():
    """Its Python is that of the one for apps that move."""
    shown = re.findall(r"^```python\n(.*?)^```$", CONNECT.read_text(), re.MULTILINE | re.DOTALL)
    assert [(SNIPPETS / "token.py").read_text()] == shown


@pytest.mark.parametrize("package", ["agents", "@cloudflare/ai-chat", "ai", "@ai-sdk/react"])
def test_page_names_the_versions_that_are_tested(package):
    """Those of the newest generation, and those of the older, on which assistant-ui is tried as well."""
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{package}` |"))
    newest, older, assistant = (pinned(generation)[package] for generation in ("newest", "older", "assistant"))
    assert [newest, older] == [cell.strip() for cell in row.split("|")[2:4]]
    assert older == assistant


@pytest.mark.parametrize("package", ["@assistant-ui/react", "@assistant-ui/react-ai-sdk"])
def test_page_names_the_assistant_that_is_tested(package):
    """What else fits is not known."""
    assert f"`{package}` {pinned('assistant')[package]}" in PAGE.read_text()


def test_apps_of_the_browser_tests_are_made_of_the_snippets(tmp_path):
    """They import every one of them, and call the clients in no way of their own."""
    metafile = tmp_path / "meta.json"
    apps = [APPS / "hooks.jsx", APPS / "assistant" / "app.tsx"]
    options = ["--bundle", "--packages=external", "--jsx=automatic", f"--outdir={tmp_path}", f"--metafile={metafile}"]
    run(TOOLS / "esbuild", *apps, *options, "--log-level=error")
    inputs = json.loads(metafile.read_text())["inputs"]
    used = {(ROOT / path).resolve() for path in inputs}
    clients = {"agents/react", "@cloudflare/ai-chat/react", "@assistant-ui/react-ai-sdk"}
    calling = {
        (ROOT / path).resolve().parent
        for path, found in inputs.items()
        if clients & {each["path"] for each in found["imports"]}
    }
    assert set(SNIPPETS.glob("*.ts*")) - {SNIPPETS / "token.ts"} == used - set(apps)
    assert {SNIPPETS} == calling


@pytest.mark.parametrize("generation", PACKAGES)
def test_snippets_fit_the_types_of_the_packages(generation, tmp_path):
    """As strictly as TypeScript can tell."""
    checked = {path.name for path in SNIPPETS.glob("*.ts*")}
    if generation != "assistant":
        checked -= {"assistant.tsx", "token.ts"}
    # Beside the packages, and where TypeScript looks for them.
    for name in checked:
        (tmp_path / name).write_text((SNIPPETS / name).read_text())
    (tmp_path / "node_modules").symlink_to(PACKAGES[generation] / "node_modules")
    types = {} if generation == "assistant" else {"typeRoots": []}
    settings = {
        "extends": str(WEBAPP / "tsconfig.json"),
        "compilerOptions": {"types": [], **types},
        "include": ["*.ts", "*.tsx"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    run(TOOLS / "tsc", "--project", tmp_path, cwd=tmp_path)


def in_python(tmp_path):
    spec = importlib.util.spec_from_file_location("snippet", SNIPPETS / "token.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.issue_session(KEY, user_id="ann", thread_id="t-1")


def in_typescript(tmp_path):
    module = tmp_path / "token.mjs"
    bundle = ["--bundle", "--platform=node", "--format=esm", "--log-level=error", f"--outfile={module}"]
    run(TOOLS / "esbuild", SNIPPETS / "token.ts", *bundle, node_path=APPS / "assistant" / "node_modules")
    call = f"issueSession({json.dumps(KEY)}, 'ann', 't-1').then((answer) => answer.text()).then(console.log)"
    program = f"import {{ issueSession }} from {json.dumps(str(module))}; {call}"
    return json.loads(run("node", "--input-type=module", "--eval", program))


@pytest.mark.parametrize("issue", [in_python, in_typescript])
def test_token_is_accepted_for_its_thread_and_user(issue, tmp_path):
    """The answer tells its end, which is as late as one may be."""
    issued = issue(tmp_path)
    session = SessionVerifier(secret=secret(KEY)).verify(issued["token"], thread_id="t-1")
    assert ("ann", issued["expires_at"]) == (session.user_id, session.exp)
    assert session.exp - session.iat == LONGEST_LIFE
