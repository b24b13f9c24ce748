#!/bin/sh
# sandboxd and what uv.lock says it needs, into a virtual environment of its own: sandboxd.sh DIRECTORY
# Where uv is not at hand (UV names it) it is fetched, as uv.txt says.
set -eu

project=$(dirname "$(dirname "$(realpath "$0")")")
target=$1

if [ -z "${UV:-}" ]; then
    first=$(mktemp --directory)
    python3 -m venv "$first"
    "$first/bin/pip" install --quiet --no-deps --only-binary :all: --require-hashes -r "$project/install/uv.txt"
    UV=$first/bin/uv
fi

UV_PROJECT_ENVIRONMENT=$target "$UV" sync --quiet --project "$project" --locked --no-dev --no-editable \
    --compile-bytecode --link-mode copy --no-managed-python --python /usr/bin/python3
# uv's own, open to all.
rm -f "$target/.lock"
