# shellcheck shell=sh disable=SC2154
# What `jobpass-gitlab mask --shell` prints, after three assignments: jobpass_program, jobpass_pipe, jobpass_mark.
# From here on, all that this shell and its children write goes through a pipe into the filter, whose output is the log.
# No descriptor of the log itself stays open: neither can a child write to it, nor does one keep the job from ending.
(
  # A runner that stops a job signals the whole process group. What the job has said until then is yet to be shown.
  trap '' HUP INT TERM
  "$jobpass_program" mask --pipe "$jobpass_pipe" --mark "$jobpass_mark" || {
    echo "jobpass: error: what masks this job's log has ended (status $?): the job stops when it writes next" >&2
    # If it has not even begun, the shell still waits for somebody to read.
    if [ -p "$jobpass_pipe" ]; then : < "$jobpass_pipe"; fi
    rm -f "$jobpass_pipe"
  }
) &
jobpass_filters="$! $jobpass_filters"
exec > "$jobpass_pipe" 2>&1

# Shows what is yet to be shown, and ends the shell with the status that it was about to end with. A script that sets an
# EXIT trap of its own calls this at the end of it.
jobpass_end() {
  { set +ex; } 2> /dev/null
  trap - EXIT
  trap '' PIPE
  # Not the end of the pipe: a process in the background may keep that open.
  printf '\001%s\002' "$jobpass_mark"
  exec > /dev/null 2>&1
  # shellcheck disable=SC2086
  wait $jobpass_filters
  exit
}
trap jobpass_end EXIT
unset jobpass_mask
