# Sourced by the scripts beside it: steps with a heading and a time, and the programs they need.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
# There are no passwords, and no questions either.
export DEBIAN_FRONTEND=noninteractive

current=
trap '[[ $? == 0 ]] || echo "=== failed: ${current:-$0}, after ${SECONDS} s" >&2' EXIT

# step TITLE COMMAND…: runs the command under a heading.
step() {
    current=$1
    local began=$SECONDS
    printf '\n=== %s\n' "$1"
    "${@:2}"
    printf '=== %s: passed in %d s\n' "$1" $((SECONDS - began))
}

fail() {
    echo "$*" >&2
    exit 1
}

# Nothing may be left out in CI.
in_ci() {
    [[ ${CI:-} == true ]]
}

is_there() {
    case $1 in
    postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' || command -v initdb ;;
    redis-server) command -v redis-server || command -v valkey-server ;;
    *) command -v "$1" ;;
    esac >/dev/null
}

# bring PROGRAM:PACKAGE…: installs what is missing where that is possible (Debian or Ubuntu, as
# root), and says in one line what stays missing.
bring() {
    local entry left=() packages=() updated=
    for entry; do
        is_there "${entry%%:*}" && continue
        if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
            [[ $updated ]] || apt-get update -qq || true
            updated=yes
            apt-get install -qq -y --no-install-recommends "${entry##*:}" || true
        fi
        is_there "${entry%%:*}" && continue
        left+=("${entry%%:*}")
        packages+=("${entry##*:}")
    done
    [[ ${#left[@]} == 0 ]] && return
    echo "Left out: tests that need ${left[*]} (to be installed with: apt-get install ${packages[*]})"
    ! in_ci
}
