#!/bin/sh
# Word count by two shell scripts, with a manager and two workers on ports of your choice.
#
#     examples/streaming/run.sh [MANAGER_PORT WORKER_PORT WORKER_PORT]
#
# The same by hand takes four terminals: the lines below with & at their end are the first three.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
manager=${1:-6000}
folder=$(mktemp -d)
cd "$folder"
pids=
trap 'kill $pids || true; wait; rm -rf "$folder"' EXIT

"$python" -m mrkernel.manager --host 127.0.0.1 --port "$manager" --state state > manager.txt &
pids=$!
until grep -q "$manager" manager.txt; do sleep 0.1; done
for port in "${2:-6001}" "${3:-6002}"; do
    "$python" -m mrkernel.worker --manager-host 127.0.0.1 --manager-port "$manager" \
        --host 127.0.0.1 --port "$port" --slots 1 > "worker-$port.txt" &
    pids="$! $pids"
done

"$python" -m mrkernel.submit --on "127.0.0.1:$manager" --quiet --reduce-tasks 2 \
    --input "$here/input" --output output \
    --mapper "$here/wc_map.sh" --reducer "$here/wc_reduce.sh" >&2
cat output/part-*
