"""What the agent's commands try against sandboxd, as programs that say what worked."""

# For the keys given in hexadecimal: in the environment, in processes, files, OpenCode's API and the model proxy.
SEARCH = r"""
import os, re, subprocess, sys
from pathlib import Path

KEYS = [bytes.fromhex(key) for key in sys.argv[1:]]

def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""

seen = dict.fromkeys(("environment", "processes", "files", "api", "proxy"), b"")
seen["environment"] = "".join(f"{name}={value}" for name, value in os.environ.items()).encode()
for pid in filter(str.isdigit, os.listdir("/proc")):
    environment = read(f"/proc/{pid}/environ")
    seen["processes"] += environment + (read(f"/proc/{pid}/cmdline") if environment else b"")
for root in (os.environ["HOME"], os.getcwd()):
    for folder, _, files in os.walk(root):
        seen["files"] += b"".join(read(os.path.join(folder, name)) for name in files)
config = seen["processes"]
password = re.search(rb"OPENCODE_SERVER_PASSWORD=([^\0]+)", config)[1].decode()
port = re.search(rb"serve[^-]--hostname[^-]+--port[^0-9]([0-9]+)", config)[1].decode()

def curl(*arguments):
    return subprocess.run(["curl", "-si", "-m", "3", *arguments], capture_output=True).stdout

for path in ("/config", "/config/providers"):
    seen["api"] += curl("-u", f"opencode:{password}", f"http://127.0.0.1:{port}{path}")
base = re.search(rb'"baseURL":\s*"(http://127.0.0.1:[0-9]+/[^/"]+)/', config)[1].decode()
body = '{"model":"x","messages":[{"role":"user","content":"hi"}]}'
for path in ("anthropic/messages", "openai-api/responses", "default/chat/completions", "anthropic/files"):
    seen["proxy"] += curl("-d", body, "-H", "content-type: application/json", f"{base}/{path}")
for place, content in seen.items():
    print(place, len(content) > 100, any(key in content for key in KEYS))
"""

BREAK_OUT = r"""
import ctypes, os, signal, subprocess, sys

SANDBOXD = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def read(path):
    with open(path, "rb") as file:
        file.read(1)

def write(path):
    os.close(os.open(path, os.O_WRONLY))

def create(folder):
    open(os.path.join(folder, "planted"), "w").close()

def ptrace(request):
    if libc.ptrace(request, SANDBOXD, 0, 0) != 0:
        raise OSError(ctypes.get_errno())

def become_root():
    os.setuid(0)

tries = {
    "environment": lambda: read(f"/proc/{SANDBOXD}/environ"),
    "memory": lambda: read(f"/proc/{SANDBOXD}/mem"),
    "maps": lambda: read(f"/proc/{SANDBOXD}/maps"),
    "descriptors": lambda: os.listdir(f"/proc/{SANDBOXD}/fd"),
    "a descriptor": lambda: os.pidfd_open(SANDBOXD) and os.listdir(f"/proc/{SANDBOXD}/fdinfo"),
    "working directory": lambda: os.readlink(f"/proc/{SANDBOXD}/cwd"),
    "probe": lambda: os.kill(SANDBOXD, 0),
    "SIGKILL": lambda: os.kill(SANDBOXD, signal.SIGKILL),
    "SIGSTOP": lambda: os.kill(SANDBOXD, signal.SIGSTOP),
    "PTRACE_ATTACH": lambda: ptrace(16),
    "PTRACE_SEIZE": lambda: ptrace(0x4206),
    "become root": become_root,
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, SANDBOXD, 19),
    "oom score": lambda: write(f"/proc/{SANDBOXD}/oom_score_adj"),
    **{f"change {path}": lambda path=path: write(path) for path in sys.argv[2:] if os.path.isfile(path)},
    **{f"plant in {path}": lambda path=path: create(path) for path in sys.argv[2:] if os.path.isdir(path)},
}
for name, attempt in tries.items():
    try:
        attempt()
    except OSError:
        continue
    print(name)
print("tried", len(tries))
"""
