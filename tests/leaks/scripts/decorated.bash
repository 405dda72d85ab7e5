# Behind decorations

### quote of a mail
fold -w 60 token | sed 's/^/> /'
### shell comment
fold -w 60 token | sed 's/^/# /'
### C comment
fold -w 60 token | sed 's/^/ * /'
### git diff
git init -q . && : > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && fold -w 60 token > t && git diff t
### git diff --color
git init -q . && : > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && fold -w 60 token > t && git diff --color t
### git diff of one line
git init -q . && echo old > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && cp token t && git diff t
### git diff --word-diff
git init -q . && echo old > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && cp token t && git diff --word-diff t
### git show of base64
git init -q . && base64 token > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git show
### git grep
git init -q . && fold -w 60 token > t && git add t && git grep -n .
### git blame
git init -q . && fold -w 60 token > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git blame t
### diff
fold -w 60 token > a; diff /dev/null a
### diff -y
fold -w 60 token > a; diff -y -W 130 /dev/null a
### diff -u
fold -w 60 token > a; diff -u /dev/null a
### grep -n of a folded file
fold -w 60 token > a; grep -n . a
### grep -Hn
fold -w 60 token > a; grep -Hn . a
### cat -n
fold -w 60 token | cat -n
### cat -A of a folded file
fold -w 60 token | cat -A
### nl with a separator
fold -w 60 token | nl -s ': '
### less -N style
fold -w 60 token | awk '{ printf "%7d %s\n", NR, $0 }'
### docker compose
fold -w 60 token | sed 's/^/app-1  | /'
### kubectl logs --prefix
fold -w 60 token | sed 's|^|[pod/app-7d4b/main] |'
### docker timestamps
fold -w 60 token | sed 's/^/2026-01-02T03:04:05.678901234Z /'
### ts
fold -w 60 token | while read -r line; do printf '%s %s\n' "$(date '+%b %d %H:%M:%S')" "$line"; done
### syslog
fold -w 60 token | sed 's/^/Jan  2 03:04:05 host app[123]: /'
### JSON log lines
fold -w 60 token | jq -Rc '{level: "info", msg: .}'
### logger levels
fold -w 60 token | sed 's/^/[INFO]  /'
### ansible
fold -w 60 token | sed 's/^/ok: [host] => /'
### terraform heredoc
printf '      + token = <<-EOT\n'; fold -w 60 token | sed 's/^/            /'; echo '        EOT'
### terraform diff
fold -w 60 token | sed 's/^/      + /'
### box drawing table
printf '┌──────────┐\n'; fold -w 60 token | sed 's/.*/│ & │/'; printf '└──────────┘\n'
### ascii table
printf '+-----+\n'; fold -w 60 token | sed 's/.*/| & |/'; printf '+-----+\n'
### psql table
printf '  token  \n---------\n'; fold -w 60 token | sed 's/^/ /; s/$/ +/'
### psql expanded
printf -- '-[ RECORD 1 ]\n'; fold -w 60 token | sed '1s/^/token | /; 2,$s/^/      | /'
### mysql \G
fold -w 60 token | sed '1s/^/token: /'
### markdown table
fold -w 40 token | awk '{ printf "| %d | %s |\n", NR, $0 }'
### markdown list
fold -w 60 token | sed 's/^/- /'
### markdown code list
fold -w 60 token | sed 's/.*/* `&`/'
### pytest assertion
fold -w 60 token | sed 's/^/E         /'
### pytest diff
fold -w 60 token | sed "s/.*/E     +  '&'/"
### jest diff
fold -w 60 token | sed 's/.*/    +   "&",/'
### maven
fold -w 60 token | sed 's/^/[ERROR]   /'
### gradle
fold -w 60 token | sed 's/^/> Task :login  /'
### bash select
fold -w 40 token | awk '{ printf "%d) %s\n", NR, $0 }'
### tree
fold -w 60 token | sed 's/^/├── /'
### ps forest
fold -w 60 token | sed 's/^/ \\_ /'
### column -t
fold -w 20 token | paste - - - | column -t
### column -s -o
fold -w 40 token | paste -d: - - | column -t -s: -o' | '
### base64 behind a compose prefix
base64 token | sed 's/^/web-1  | /'
### hex behind a bar
xxd -p token | sed 's/.*/│ & │/'
### two columns of which one is words
fold -w 24 token | sed 's/^/value of the field is  /'
### git diff of characters, one a line
git init -q . && grep -o . token > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git rm -q t && git diff HEAD
### git diff of decimal numbers, one a line
git init -q . && od -An -v -w1 -tu1 token | tr -d ' ' > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git rm -q t && git diff HEAD
### python ndiff of two lists of numbers
python3 -c 'import difflib, os; new = [f"  {byte}," for byte in os.environ["TOKEN"].encode()]; print("\n".join(difflib.ndiff(["  0,"] * len(new), new)))'
