# What every part shares: where things are, result lines, and running one command as one check.
# Sourced by compat/check and by each compat/parts/NAME.sh.

COMPAT=${COMPAT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
ROOT=$(cd "$COMPAT/.." && pwd)
# Everything that is installed, built or written down by the check; removing it costs a first run.
WORK=$ROOT/target/compat
LOGS=$WORK/logs
mkdir -p "$LOGS"
export COMPAT ROOT WORK LOGS
export COMPAT_LONG=${COMPAT_LONG:-} COMPAT_PART=${COMPAT_PART:-none}
# Rust as rustup installs it, in a shell that has not read its profile since.
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then export PATH=$HOME/.cargo/bin:$PATH; fi
source "$COMPAT/lib/install.sh"

_result() { # KIND NAME DETAIL
  printf '%-7s %s: %s%s\n' "$1" "$COMPAT_PART" "$2" "${3:+ ($3)}"
  printf '%s\t%s: %s%s\n' "$1" "$COMPAT_PART" "$2" "${3:+ ($3)}" >>"${COMPAT_RESULTS:-/dev/null}"
}
passed() { _result passed "$@"; }
failed() { _result failed "$@"; }
# Only for a feature or a privilege that this kernel does not give; never for a failed install.
skipped() { _result skipped "$@"; }

# check NAME COMMAND...: the command is one check. Its output goes to a log, of which a failure shows
# the end.
check() {
  local name=$1 log code started=$SECONDS
  shift
  log=$LOGS/$COMPAT_PART-${name//[^A-Za-z0-9.]/_}.log
  "$@" >"$log" 2>&1
  code=$?
  if [ $code -eq 0 ]; then
    passed "$name" "$((SECONDS - started)) s"
  else
    tail -n 40 "$log" | sed 's/^/    | /'
    failed "$name" "exit code $code after $((SECONDS - started)) s, log ${log#"$ROOT"/}"
  fi
  return $code
}

# need WHAT...: installs what a part cannot do without (functions of install.sh, without the
# "install_"); the part ends here, as a failure, if that fails.
need() {
  local what
  for what in "$@"; do
    local log=$LOGS/install-${what//[^A-Za-z0-9.]/_}.log
    # In a shell of its own: bash forgets "set -e" inside whatever is itself a condition.
    if ! bash -e -c 'source "$COMPAT/lib/install.sh"; "install_${1%%:*}" "${1#*:}"' _ "$what" >"$log" 2>&1; then
      tail -n 40 "$log" | sed 's/^/    | /'
      failed "install $what" "log ${log#"$ROOT"/}"
      exit 1
    fi
  done
}

# The release binary, built if it is not up to date. DOORKEEPER=PATH takes another one instead, and
# COMPAT_AGAINST=apache puts ZooKeeper and Kafka in its place, which is how the tests are tested.
need_doorkeeper() {
  if [ "${COMPAT_AGAINST:-}" = apache ]; then
    need maven:kafka-3.9.1 maven:zookeeper-3.9.4
    return
  fi
  if [ -z "${DOORKEEPER:-}" ]; then
    need rust
    check "release build" cargo build --release --locked --bin doorkeeper --manifest-path "$ROOT/Cargo.toml" || exit 1
    DOORKEEPER=${CARGO_TARGET_DIR:-$ROOT/target}/release/doorkeeper
  fi
  export DOORKEEPER
}

# python_tests FILE...: pytest files of compat/python; each test is a check (see conftest.py).
python_tests() {
  need python
  (cd "$COMPAT/python" && PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -m pytest -qq -p no:cacheprovider --no-header \
    --no-summary --disable-warnings --tb=short "$@" </dev/null)
}
