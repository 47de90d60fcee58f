#!/usr/bin/env bash
# After a deployment: one job and one event of each kind, through to toast, mail and webhook.
#
#   HUNTAZE_URL=https://… HUNTAZE_API_KEY=<the admin's key> scripts/test-workers.sh [OPTION]...
#
# It runs against `huntaze up` too. --help says what its options are.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	echo "test-workers: python3 is not here or too old: Python 3.11 or newer is needed" >&2
	exit 2
fi
exec python3 "$root/scripts/test_workers.py" "$@"
