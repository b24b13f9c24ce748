#!/bin/sh
# The two users of a sandbox and what each owns, as root, in the image: the programs are root's, so neither can change
# them; home and workspace are the agent's, closed to others.
set -eu

SANDBOXD=1000 AGENT=1001

groupadd --gid "$SANDBOXD" sandboxd
useradd --uid "$SANDBOXD" --gid sandboxd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sandboxd
groupadd --gid "$AGENT" agent
useradd --uid "$AGENT" --gid agent --no-create-home --home-dir /home/agent --shell /bin/bash agent
install --directory --owner=agent --group=agent --mode=0700 /home/agent /workspace
for command in npm npx; do
    ln --symbolic --force "/opt/opencode/node_modules/npm/bin/$command-cli.js" "/usr/local/bin/$command"
done
