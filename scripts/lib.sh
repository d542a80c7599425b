# shellcheck shell=bash
# What the scripts share. Sourced after `set -euo pipefail`, with the checkout as working directory.

logs=.cache/logs

say() { printf '%s\n' "$*" >&2; }

# Ends the script with a sentence that says what to do.
fail() {
    say "error: $*"
    exit 1
}

seconds_text() {
    if (($1 < 60)); then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi
}

# step LABEL LOG COMMAND...: runs a command with its output in .cache/logs/LOG.log and shows that it is alive: on a
# terminal a line with the time spent and the last output, elsewhere a line at the start and one at the end. A command
# that fails has the end of its log printed, and the script ends with its status.
#
# The command runs in the background, where `set -e` holds within it and `exit` ends only it.
step() {
    local label=$1 log=$logs/$2.log start=$SECONDS status=0 pid
    shift 2
    mkdir -p "$logs"
    [ -t 2 ] || say "... $label"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    # Ctrl-C reaches only the foreground.
    trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; printf "\n" >&2; exit 130' INT TERM
    if [ -t 2 ]; then tick "$pid" "$label" "$log" "$start"; fi
    wait "$pid" || status=$?
    trap - INT TERM
    if ((status == 0)); then
        say "ok  $label ($(seconds_text $((SECONDS - start))))"
        return
    fi
    say "failed  $label ($(seconds_text $((SECONDS - start)))); the end of $log:"
    tail -n 40 "$log" | sed 's/^/    /' >&2
    exit "$status"
}

# Keeps one line up to date until a process has ended.
tick() {
    local pid=$1 label=$2 log=$3 start=$4 width line
    while kill -0 "$pid" 2>/dev/null; do
        width=$(tput cols 2>/dev/null || echo 80)
        line="... $label ($(seconds_text $((SECONDS - start)))) $(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]')"
        printf '\r\033[K%s' "${line:0:$((width - 1))}" >&2
        sleep 0.2
    done
    printf '\r\033[K' >&2
}

# end_when_silent LOG SECONDS PID: ends a test runner and what it has started once its log has not grown for so long, and
# says what it was at: the tests that had begun and not ended and, where there is a debugger, what its threads waited
# for. Returns when the runner has ended. A run that stands still would otherwise be found only by whoever waits for it.
end_when_silent() {
    local log=$1 limit=$2 pid=$3 victim victims
    while kill -0 "$pid" 2>/dev/null; do
        sleep 5
        (($(date +%s) - $(stat -c %Y "$log" 2>/dev/null || date +%s) > limit)) || continue
        victims=$(descendants "$pid")
        {
            echo "✘ Nothing was said for $(seconds_text "$limit"); the run is ended. Begun and not ended:"
            unended "$log" | sed 's/^/    /'
            echo "Processes that wait in the kernel:"
            for victim in /proc/[0-9]*; do
                [ "$(awk '{ sub(/.*\\) /, ""); print $1 }' "$victim/stat" 2>/dev/null)" = D ] || continue
                echo "    ${victim#/proc/} $(tr '\0' ' ' 2>/dev/null <"$victim/cmdline" | cut -c 1-120)"
                sed 's/^/        /' "$victim/stack" 2>/dev/null
            done
            if command -v gdb >/dev/null; then
                for victim in $victims; do
                    case $(readlink "/proc/$victim/exe") in *.xctest | */swiftpm-testing-helper) ;; *) continue ;; esac
                    timeout 120 gdb -p "$victim" -batch -ex 'thread apply all bt 30' 2>/dev/null | grep -E '^(#|Thread)'
                done
            fi
        } | tee -a "$log"
        # shellcheck disable=SC2086 # one word a process
        kill $victims "$pid" 2>/dev/null
        sleep 10
        # shellcheck disable=SC2086
        kill -KILL $victims "$pid" 2>/dev/null
        return
    done
}

# Processes that a process has started, and those they have.
descendants() {
    local child
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        echo "$child"
        descendants "$child"
    done
}

# Tests of a runner's log that have begun and not ended.
unended() {
    sed -nE 's/^◇ Test (.*) started\.$/\1/p' "$1" | grep -vE '^(run|case)\b' | sort -u | while IFS= read -r name; do
        grep -qF -e "✔ Test $name passed" -e "✔ Test $name with " -e "✘ Test $name failed" -e "✘ Test $name with " "$1" ||
            echo "$name"
    done
}
