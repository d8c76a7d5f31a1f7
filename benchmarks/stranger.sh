#!/usr/bin/env bash
# A stranger with a fresh clone and the README: `make demo`, then a folder of DICOM files to scores in
# four commands. Prints each command with its exit code and seconds.
#
#     benchmarks/stranger.sh [FOLDER]    # everything, in a new folder; some 10 minutes of two cores
#     benchmarks/stranger.sh FOLDER own  # the second half alone, where the first has been
set -uo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
folder="${1:-$(mktemp -d)}"
mkdir -p "$folder" && cd "$folder" || exit 1
export HOME="$folder/home" XDG_CONFIG_HOME="$folder/home/.config"  # no key, no settings of ours
mkdir -p "$HOME"
failed=0

typed() { # runs a line as typed; the second word is the exit code that is right
    local right="$1" began=$SECONDS
    shift
    printf '$ %s\n' "$*"
    "$@"
    local code=$?
    printf '  exit %s, %s s\n' "$code" "$((SECONDS - began))"
    [ "$code" = "$right" ] || failed=1
}

if [ "${2:-}" != own ]; then
    [ -d echocli ] || typed 0 git clone --quiet "$here" echocli
    cd echocli || exit 1
    typed 0 make demo
    [ -s echo-demo/report.html ] || { echo "no report"; failed=1; }
    cd ..
fi

# What a user brings: a folder of DICOM files, and labels.csv to say which hearts are normal.
mkdir -p study && cp -r echocli/echo-demo/{dicom,labels.csv} study/ && cd study || exit 1
PATH="$folder/echocli/.venv/bin:$PATH"
typed 0 echocli preprocess
typed 0 echocli pretrain --steps 20
typed 0 echocli embed
typed 0 echocli score --anomaly --false-positive-rate 0.2
printf 'lines of scores.csv: '
wc -l <scores.csv
exit "$failed"
