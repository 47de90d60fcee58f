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

failed=
for check in $checks; do
	echo "== $check"
	case $check in
	ruff) "$bin/ruff" check . ;;
	format) "$bin/ruff" format --check . ;;
	mypy) "$bin/mypy" ;;
	pytest) "$bin/pytest" "$@" ;;
	*) echo "there is no check named $check" >&2 && false ;;
	esac || failed="$failed $check"
done

if [ -n "$failed" ]; then
	echo "FAILED:$failed"
	exit 1
fi
echo "passed:$checks"
