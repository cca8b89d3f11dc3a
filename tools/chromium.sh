#!/bin/sh
# Install Chromium where this is root on Debian or Ubuntu and it is not there: the report's tests look at the
# page in it, and are skipped without it. 10 s and 400 MB on a machine that has none of it.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "no Chromium, and no root with apt-get to install it: the report is not looked at" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends chromium >/dev/null 2>&1 ||
    { apt-get update >/dev/null && apt-get install -y --no-install-recommends chromium >/dev/null; } ||
    echo "apt-get has no Chromium: the report is not looked at" >&2
