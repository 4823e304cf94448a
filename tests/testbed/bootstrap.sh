#!/usr/bin/env bash
# Makes the virtual environment that everything runs in, and prints the path of its python. What the machine lacks for it and for
# the testbed is installed on Debian and Ubuntu, and named elsewhere. A second run takes no time.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${GROUNDWORK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/groundwork-observability}
say() { printf '[%5d s] %s\n' "$SECONDS" "$*" >&2; }

# The system's own first: Debian compiles it with optimizations, which those in people's folders often lack (1.25 times slower).
python=
for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(command -v "$candidate")
    break
  fi
done

# program or file -> Debian's package
missing=()
need() { [ -n "$1" ] || missing+=("$2"); }
need "$python" python3
need "$python" python3-venv
need "$(command -v ssh || true)" openssh-client
need "$(command -v cc || true)" gcc
need "$(command -v java || true)" default-jre-headless
need "$(command -v mvn || true)" maven
need "$(command -v npm || true)" npm
need "$(command -v git || true)" git
if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    [ -n "$python" ] || python=/usr/bin/python3
  else
    echo "bootstrap: this machine lacks ${missing[*]} (names of Debian's packages): install them and run this again" >&2
    exit 1
  fi
fi

venv=$cache/venv-$({ cat requirements.txt; "$python" --version; } | sha256sum | cut -c1-12)
if [ ! -e "$venv/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$venv.lock"
  flock 9
  if [ ! -e "$venv/complete" ]; then
    say "making the virtual environment (about a minute)"
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt >&2
    touch "$venv/complete"
    say "the virtual environment is complete"
  fi
fi
echo "$venv/bin/python"
