#!/usr/bin/env bash
# Writes the pinned versions with hashes from pyproject.toml. The files name no package index: pip's own setting is used.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d); trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools" && "$tools/bin/pip" -q install pip-tools
compile() {
  local out=$1; shift
  "$tools/bin/pip-compile" -q --generate-hashes --allow-unsafe --strip-extras --no-header \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@" -o "requirements/$out.txt" pyproject.toml
}
compile agent
compile collector --extra=collector --extra=postgresql
compile dev --extra=collector --extra=postgresql --extra=mysql --extra=redis --extra=dev
# mutmut beside dev.txt and at its versions: `make mutate` adds it to .venv, CI does without.
sed -n 's/^mutate = \["\(.*\)"\]$/\1/p' pyproject.toml >"$tools/mutate.in"
"$tools/bin/pip-compile" -q --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -c requirements/dev.txt \
  -o requirements/mutate.txt "$tools/mutate.in"
