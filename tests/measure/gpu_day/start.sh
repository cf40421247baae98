#!/usr/bin/env bash
# On the machine with the GPU: joins the parts, installs them beside what is there, and measures.
#   bash tests/measure/gpu_day/start.sh PARTS OUT [arguments of gpu_day]
set -euo pipefail
parts=$1 out=$2
shift 2
mkdir -p "$out"
site=/tmp/gpu-day-site
if [ ! -d "$site" ]; then
  for first in "$parts"/*.00; do
    [ -e "$first" ] && cat "${first%.00}".[0-9][0-9] > "${first%.00}" && rm "${first%.00}".[0-9][0-9]
  done
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$site.partial" "$parts"/*.whl
  mv "$site.partial" "$site"
fi
PYTHONUNBUFFERED=1 PYTHONPATH="$site" exec python3 tests/measure/gpu_day --out "$out" "$@" 2>&1 | tee "$out/log.txt"
