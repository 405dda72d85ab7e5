# shellcheck shell=sh disable=SC2154,SC3028
# What `jobpass-gitlab mask --shell` prints, after three assignments: jobpass_program, jobpass_pipe, jobpass_mark.
# From here on, what this shell and its children write goes through a pipe into the filter, whose output is the log. The
# shell keeps no descriptor of the log itself, so that nothing it starts can write to it or keep the job from ending.
# A grandchild: the filter is none of the jobs that a script waits for or kills.
( (
  # A runner that stops a job signals the whole process group. What the job has said until then is yet to be shown.
  trap '' HUP INT TERM
  "$jobpass_program" mask --pipe "$jobpass_pipe" --mark "$jobpass_mark" || {
    echo "jobpass: error: what masks this job's log has ended (status $?): the job stops when it writes next" >&2
    # If it was killed before it began, the shell still waits for somebody to read; but not forever.
    (: < "$jobpass_pipe") 2> /dev/null &
    sleep 2
    kill -9 "$!" 2> /dev/null || :
    rm -f "$jobpass_pipe"
  }
) < /dev/null & )
exec > "$jobpass_pipe" 2>&1

# An EXIT trap that is there already stays: `trap` prints commands that would set it again.
jobpass_keep() {
  case "${3-}" in
  EXIT | 0) jobpass_trap=$2 ;;
  esac
}
if [ -z "${jobpass_end-}" ]; then
  # Not in $(), which is a shell with traps of its own.
  trap > "$jobpass_pipe.traps"
  eval "$(sed 's/^trap -- /jobpass_keep -- /' "$jobpass_pipe.traps")"
  rm -f "$jobpass_pipe.traps"
fi

# Shows what is yet to be shown, and ends the shell with the status that it was about to end with. A script that sets an
# EXIT trap of its own calls this at the end of it.
jobpass_end() {
  jobpass_status=$?
  # A child of bash that is killed before it has become another program runs this, too.
  [ "${BASHPID-}" = "$jobpass_shell" ] || return 0
  { set +eux; } 2> /dev/null
  trap - EXIT
  if [ -n "${jobpass_trap-}" ]; then
    (exit "$jobpass_status")
    eval "$jobpass_trap"
  fi
  exec > /dev/null 2>&1
  eval "$jobpass_end"
  # Within a trap, without a number, with the status from before it.
  exit
}
jobpass_shell=${BASHPID-}
# The last one first: its output is the input of the one before.
jobpass_end="'$jobpass_program' mask --end '$jobpass_pipe' --mark '$jobpass_mark'; ${jobpass_end-}"
trap jobpass_end EXIT
unset jobpass_mask
