# shellcheck shell=sh disable=SC2154
# The first part of `jobpass-gitlab mask --shell`, after some assignments: jobpass_program, jobpass_pipe, jobpass_mark.
# From here on, this shell and its children write into a pipe. The filter reads it, and its output is the log. The
# shell keeps no descriptor of the log itself, so that nothing it starts can write to it or keep the job from ending.
# A grandchild: the filter is not one of the jobs that a script waits for or kills.
( (
  # A runner that stops a job signals the whole process group, and the log up to then is yet to be shown.
  trap '' HUP INT TERM
  "$jobpass_program" mask --pipe "$jobpass_pipe" --mark "$jobpass_mark" || {
    echo "jobpass: error: the filter that masks this job's log has ended (status $?): the job stops when it writes next" >&2
    # If it was killed before it began, the shell still waits for somebody to read; but not forever.
    (: < "$jobpass_pipe") 2> /dev/null &
    sleep 2
    kill -9 "$!" 2> /dev/null || :
    rm -f "$jobpass_pipe"
  }
) < /dev/null & )
exec > "$jobpass_pipe" 2>&1
# The filter that began last ends first: its output is the input of the one before.
jobpass_filters="'$jobpass_program' mask --end '$jobpass_pipe' --mark '$jobpass_mark'; ${jobpass_filters-}"
