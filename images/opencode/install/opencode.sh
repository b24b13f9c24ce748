#!/bin/sh
# OpenCode, its plugin package and npm, as package-lock.json says, into a directory: opencode.sh DIRECTORY [ONE_BUILD]
# With ONE_BUILD only the build of OpenCode that processors of today run stays.
set -eu

project=$(dirname "$(dirname "$(realpath "$0")")")
target=$1

npm=npm
if ! command -v npm > /dev/null; then
    # From the lock file's own entry, so that it is as pinned as what it installs.
    npm=$(mktemp --directory)/npm
    python3 "$project/install/locked_package.py" "$project/package-lock.json" npm "$npm"
    npm="node $npm/bin/npm-cli.js"
fi

mkdir -p "$target"
for file in package.json package-lock.json .npmrc; do
    [ "$project/$file" -ef "$target/$file" ] || cp "$project/$file" "$target/$file"
done
# No package's script is run: OpenCode's would only choose among its builds, which sandboxd does itself.
$npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel error

if [ -n "${2:-}" ]; then
    # The other build is for processors without AVX2, which Fargate has none of. What only readers need is 40 MB.
    cd "$target/node_modules"
    rm -rf opencode-linux-*-baseline effect/src zod/src npm/docs npm/man
    find . -name '*.map' -delete
fi
