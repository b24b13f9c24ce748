#!/bin/sh
# What sandboxd, OpenCode and its commands need of Debian. As root, in the image.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# git and ripgrep: OpenCode runs them. python3-venv, nodejs, curl, procps, less: what its commands expect to find.
apt-get install --quiet=2 --yes --no-install-recommends \
    ca-certificates curl git less nodejs procps python3 python3-venv ripgrep
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# Nobody is to become somebody else by a program's set-user-id bit.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
