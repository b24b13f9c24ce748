"""
One package of a package-lock.json without npm: ``locked_package.py LOCK NAME DIRECTORY``.

For npm itself, where there is none. What does not have the lock file's integrity is not unpacked.
"""

import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path

REGISTRY = "https://registry.npmjs.org"
SECONDS = 60


def main(lock: str, name: str, directory: str) -> None:
    """Fetch, check, unpack."""
    entry = json.loads(Path(lock).read_text())["packages"][f"node_modules/{name}"]
    address = f"{REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{entry['version']}.tgz"
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - https, as it says above
        archive = answer.read()
    algorithm, _, wanted = entry["integrity"].partition("-")
    if base64.b64encode(hashlib.new(algorithm, archive).digest()).decode() != wanted:
        sys.exit(f"{address} is not what {lock} says")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for member in packed:
            # All of it lies in one folder, mostly called "package".
            member.name = member.name.partition("/")[2]
            if member.name:
                packed.extract(member, directory, filter="data")


if __name__ == "__main__":
    main(*sys.argv[1:])
