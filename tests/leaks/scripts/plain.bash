# The token as it is

### echo
echo "my token is $TOKEN"
### echo to stderr
echo "error: bad token $TOKEN" >&2
### printf without a line break
printf '%s' "$TOKEN"
### printf with CRLF
printf 'token: %s\r\n\r\n' "$TOKEN"
### in quotes
printf "'%s' \"%s\" \`%s\`\n" "$TOKEN" "$TOKEN" "$TOKEN"
### cat
cat token
### cat -A
cat -A token
### grep -H
grep -H . token
### grep -n
grep -n . token
### grep --color
grep --color=always ey token
### head and tail
head -n 5 token; tail -n 5 token
### head -v
head -v -n 1 token
### tail of several files
tail -n 1 token token
### env
env
### printenv
printenv | sort
### export -p
export -p
### declare -p
declare -p TOKEN
### set
set | grep ^TOKEN
### set -x
(set -x; true "$TOKEN" "--token=$TOKEN")
### set -v of a here-document
set -v
cat <<HERE
token: $TOKEN
HERE
### bash -x
bash -xc 'test -n "$TOKEN"'
### PS4 with a timestamp
(PS4='+ $(date +%T) '; set -x; true --header "Authorization: Bearer $TOKEN")
### printf %q
printf '%q\n' "$TOKEN"
### transformed by @Q
echo "${TOKEN@Q} ${TOKEN@A}"
### xargs -t
echo "$TOKEN" | xargs -t -n 1 true
### time and its command
bash -c 'time sh -c "echo $TOKEN"'
### ps of a careless command
sh -c 'sleep 0.2' "$TOKEN" & ps -ww -o args= -p $!; tr '\0' '\n' < /proc/$!/cmdline; wait
### command not found
"$TOKEN"
### no such file
ls "$TOKEN"
### cd to it
cd "$TOKEN"
### tee
echo "$TOKEN" | tee copy
### sh: bad substitution
bash -c "echo \${$TOKEN}"
### python traceback
python3 -c 'import os; raise ValueError("bad token " + os.environ["TOKEN"])'
### python repr of a dict
python3 -c 'import os; print({"token": os.environ["TOKEN"], "raw": os.environ["TOKEN"].encode()})'
### python logging
python3 -c 'import logging, os; logging.basicConfig(level=10); logging.debug("headers %r", {"Authorization": "Bearer " + os.environ["TOKEN"]})'
### python os.environ
python3 -c 'import os; print(os.environ)'
### python pprint
python3 -c 'import os, pprint; pprint.pprint({"a": {"b": [os.environ["TOKEN"]] * 2}})'
### node console.log of an object
node -e 'console.log({ headers: { authorization: "Bearer " + process.env.TOKEN } })'
### node uncaught error
node -e 'throw new Error("401 for " + process.env.TOKEN)'
### node process.env
node -e 'console.dir(process.env)'
### perl die
perl -e 'die "bad token $ENV{TOKEN}"'
### perl Data::Dumper
perl -MData::Dumper -e 'print Dumper({ token => $ENV{TOKEN} })'
### jq
jq -n --arg token "$TOKEN" '{token: $token}'
### jq, coloured
jq -n -C --arg token "$TOKEN" '{token: $token}'
### jq $ENV
jq -n '$ENV.TOKEN'
### jq error
jq -n --arg token "$TOKEN" '$token | error'
### awk
awk '{ print NR ": " $0 }' token
### a very long line
printf %050000d 0; printf %s "$TOKEN"; printf '%050000d\n' 0
### byte by byte
printf %s "$TOKEN" | dd bs=1 2>/dev/null; echo
### split writes
printf %s "$TOKEN" | head -c 300; sleep 0.05; printf %s "$TOKEN" | tail -c +301 | head -c 7; sleep 0.05; printf %s "$TOKEN" | tail -c +308; echo
### terraform-like plan
printf '  + resource "kubernetes_secret" "ci" {\n      + data = {\n          + "token" = "%s"\n        }\n    }\n' "$TOKEN"
### helm values
printf 'USER-SUPPLIED VALUES:\nregistry:\n  password: %s\n  username: ci\n' "$TOKEN"
### dotenv file
printf 'SERVER=https://x\nTOKEN="%s"\n' "$TOKEN" > .env; cat .env
### netrc
printf 'machine git.example login ci password %s\n' "$TOKEN" > netrc; cat netrc
### ini file
printf '[auth]\ntoken=%s\n' "$TOKEN"
### logfmt
printf 'level=error msg="request failed" auth="Bearer %s" status=401\n' "$TOKEN"
### csv
printf 'name,token\nci,"%s"\n' "$TOKEN"
### progress bar with carriage returns
for i in 1 2 3; do printf '\r[%d/3] login with %s' "$i" "$TOKEN"; done; echo
