#!/bin/sh
# wheels.sh NAME EXTRA...: collect the wheels of an image in /, with /requirements.txt: the first stage of its Dockerfile.
# Where hashes/NAME-$TARGETARCH.txt is there (images/hashed.py writes it), files of other hashes are refused; REQUIRE_HASHES=1
# refuses to go on without it. FOLDER and PIP are for tests: another folder than /, another pip than a new one.
set -eu
src=$(cd "$(dirname "$0")" && pwd) folder=${FOLDER:-/} name=$1 hashes="$(dirname "$0")/hashes/$1-${TARGETARCH:-unknown}.txt"
shift
python3 "$src/requirements.py" "$@" > "$folder/requirements.txt"
if [ -z "${PIP:-}" ]; then
  python3 -m venv /pip
  PIP=/pip/bin/pip
fi
if [ -f "$hashes" ]; then
  $PIP wheel -q -w "$folder" --require-hashes --no-deps -r "$hashes"
elif [ -n "${REQUIRE_HASHES:-}" ]; then
  echo "$name: $hashes is not there: python3 images/hashed.py $name writes it" >&2
  exit 1
else
  $PIP wheel -q -w "$folder" -c "$src/requirements.lock" -r "$folder/requirements.txt"
fi
