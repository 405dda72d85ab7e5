# shellcheck shell=sh disable=SC2154,SC3028
# The last part of the output of `jobpass-gitlab mask --shell`, with and without a filter. The command in jobpass_guards tells the
# guards of this job's tokens that the script is over.
# An earlier EXIT trap stays: `trap` prints the commands that set it again.
jobpass_keep() {
  case "${3-}" in
  EXIT | 0) jobpass_trap=$2 ;;
  esac
}
if [ -z "${jobpass_began-}" ]; then
  # The output of `trap` goes through a file. In $(), `trap` could print the traps of the subshell instead. Only this user can read the
  # file, because the commands of a trap may contain a secret.
  jobpass_umask=$(umask)
  umask 077
  trap > "$jobpass_pipe.traps"
  umask "$jobpass_umask"
  eval "$(sed 's/^trap -- /jobpass_keep -- /' "$jobpass_pipe.traps")"
  rm -f "$jobpass_pipe.traps"
  jobpass_began=1
fi

# Waits for the guards and for the filter, and ends the shell with its own status. A script with an EXIT trap of its own calls this at
# the end of the trap.
jobpass_end() {
  jobpass_status=$?
  # A child of bash also runs this if it is killed before it starts another program.
  [ "${BASHPID-}" = "$jobpass_shell" ] || return 0
  { set +eux; } 2> /dev/null
  trap - EXIT
  if [ -n "${jobpass_trap-}" ]; then
    (exit "$jobpass_status")
    eval "$jobpass_trap"
  fi
  # The container may end with this shell, so the shell waits. The status 7 means that a token is not revoked, and that
  # `fail-on-revoke-error` is `true`.
  jobpass_revoked=0
  eval "$jobpass_guards" || jobpass_revoked=$?
  if [ -n "${jobpass_filters-}" ]; then
    exec > /dev/null 2>&1
    eval "$jobpass_filters"
  fi
  if [ "$jobpass_revoked" = 7 ] && [ "$jobpass_status" = 0 ]; then
    exit 7
  fi
  # In a trap, `exit` without a number keeps the status from before the trap.
  exit
}
jobpass_shell=${BASHPID-}
trap jobpass_end EXIT
unset jobpass_mask
