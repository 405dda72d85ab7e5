# shellcheck shell=sh disable=SC2154
# The part of the output of `jobpass-gitlab mask --shell` that starts the filter. Before it, the output assigns jobpass_program,
# jobpass_pipe and jobpass_mark.
# From here on, this shell and its children write into a pipe. The filter reads the pipe, and writes the masked text to the log. The
# shell keeps no descriptor of the log itself. So no program that the shell starts can bypass the filter, or keep the job from ending.
# The filter is a grandchild, so that it is not one of the jobs that a script waits for or kills.
( (
  # A runner that stops a job signals the whole process group, and the rest of the log must still be shown.
  trap '' HUP INT TERM
  "$jobpass_program" mask --pipe "$jobpass_pipe" --mark "$jobpass_mark" || {
    echo "jobpass: error: the filter that masks this job's log has ended (status $?): the job stops when it writes next" >&2
    # If the filter was killed before it began, the shell still waits for a reader. This ends the wait.
    (: < "$jobpass_pipe") 2> /dev/null &
    sleep 2
    kill -9 "$!" 2> /dev/null || :
    rm -rf "$jobpass_pipe" "${jobpass_pipe%.log}.filter"
  }
) < /dev/null & )
exec > "$jobpass_pipe" 2>&1
# The last filter ends first, because its output is the input of the filter before it.
jobpass_filters="'$jobpass_program' mask --end '$jobpass_pipe' --mark '$jobpass_mark'; ${jobpass_filters-}"
