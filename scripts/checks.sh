#!/bin/sh
# Runs checks one after the other, whether or not one fails, and says at the end how it went.
#
#   checks.sh BIN CHECK... [-- PYTEST ARGUMENT...]
#
# BIN is the virtual environment's bin folder; checks are ruff, format, mypy and pytest.

bin=$1
shift
checks=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	checks="$checks $1"
	shift
done
[ $# -gt 0 ] && shift

# Tests wait for disks thousands of times, and what they prove does not need one: where there is
# memory to spare, their files are there.
free_kib=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ -z "$TMPDIR" ] && [ -w /dev/shm ] && [ "${free_kib:-0}" -gt 4000000 ]; then
	TMPDIR=/dev/shm
	export TMPDIR
fi

# Beside the tests types are checked in the background: alone that would leave a core idle.
types=
case " $checks " in *" mypy "*"pytest "*) types=$(mktemp) ;; esac
if [ -n "$types" ]; then
	"$bin/mypy" >"$types" 2>&1 &
	typing=$!
fi

failed=
for check in $checks; do
	[ "$check" = mypy ] && [ -n "$types" ] && continue
	echo "== $check"
	case $check in
	ruff) "$bin/ruff" check . ;;
	format) "$bin/ruff" format --check . ;;
	mypy) "$bin/mypy" ;;
	# Hundreds of processes load the same modules: what one has compiled is there for all, even
	# where the environment says not to keep it.
	pytest) PYTHONDONTWRITEBYTECODE='' "$bin/pytest" "$@" ;;
	*) echo "there is no check named $check" >&2 && false ;;
	esac || failed="$failed $check"
done

if [ -n "$types" ]; then
	wait "$typing" || failed="$failed mypy"
	echo "== mypy"
	cat "$types"
	rm -f "$types"
fi

if [ -n "$failed" ]; then
	echo "FAILED:$failed"
	exit 1
fi
echo "passed:$checks"
