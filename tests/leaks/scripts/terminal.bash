# Colours and terminal control

### coloured
printf '\033[31;1m%s\033[0m\n' "$TOKEN"
### coloured segments
sed 's/\./\x1b[1m.\x1b[0m/g' token
### colours inside
sed 's/.\{40\}/&\x1b[1m/g' token; printf '\033[0m\n'
### a colour for each character
sed 's/./\x1b[3\n&/g' token | tr '\n' '2' | sed 's/2\(.\)/2m\1/g'; printf '\033[0m\n'
### tput sgr0 inside
sed 's/.\{30\}/&\x1b(B\x1b[m/g' token
### tput bold and sgr0
printf '%s' "$(TERM=xterm tput bold)"; sed "s/.\{50\}/&$(TERM=xterm tput sgr0)/g" token
### cursor saved and restored
sed 's/.\{30\}/&\x1b7\x1b8/g' token
### cursor movements
sed 's/.\{30\}/&\x1b[K\x1b[1C/g' token
### title inside
sed 's/.\{60\}/&\x1b]0;build\x07/g' token
### hyperlink
printf '\033]8;;https://x/\033\\%s\033]8;;\033\\\n' "$TOKEN"
### hyperlinks inside
sed 's/.\{60\}/&\x1b]8;;\x1b\\/g' token
### C1 CSI
sed 's/.\{30\}/&\xc2\x9b1m/g' token
### raw C1 CSI
LC_ALL=C sed 's/.\{30\}/&\x9b1m/g' token
### zero-width spaces
sed 's/.\{20\}/&\xe2\x80\x8b/g' token
### zero-width joiners
sed 's/.\{3\}/&\xe2\x80\x8d/g' token
### soft hyphens
sed 's/.\{25\}/&\xc2\xad/g' token
### word joiner
sed 's/.\{25\}/&\xe2\x81\xa0/g' token
### byte order marks
sed 's/.\{25\}/&\xef\xbb\xbf/g' token
### bidi marks
sed 's/.\{25\}/&\xe2\x80\x8e/g' token
### NUL bytes
sed 's/.\{30\}/&\x00/g' token
### bells
sed 's/.\{30\}/&\x07/g' token
### man page bold
sed 's/./&\x08&/g' token
### man page underline
sed 's/./_\x08&/g' token
### a character taken back
sed 's/.\{20\}/&x\x08/g' token
### carriage returns inside
sed 's/.\{40\}/&\r/g' token
### form feeds and vertical tabs
sed 's/.\{40\}/&\f\v/g' token
### tabs inside
sed 's/.\{40\}/&\t/g' token
### script
script -qec 'cat token; echo' /dev/null < /dev/null
### grep colours each match
grep --color=always -E '[A-Za-z]+' token
### jq -C of pieces
fold -w 60 token | jq -R . | jq -s -C .
### ls --color of pieces
fold -w 60 token | xargs touch -- 2>/dev/null; ls --color=always
### git log --color
git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m "$(fold -w 60 token)" && git log --color
### rainbow
awk '{ n = length($0); for (i = 1; i <= n; i++) printf "\033[38;5;%dm%s", i % 200 + 16, substr($0, i, 1); print "\033[0m" }' token
### spinner between
for ((i = 0; i < ${#TOKEN}; i += 100)); do printf '%s\r|\b/\b-\b' "${TOKEN:i:100}"; done; echo
### erased lines
for ((i = 0; i < ${#TOKEN}; i += 100)); do printf '\033[2K\r%s\n\033[1A' "${TOKEN:i:100}"; done; echo
### section markers
printf 'section_start:1700000000:login\r\033[0K%s\nsection_end:1700000000:login\r\033[0K\n' "$TOKEN"
### private modes
sed 's/.\{30\}/&\x1b[?25l\x1b[?2004h/g' token
### application program command
sed 's/.\{60\}/&\x1b_x\x1b\\/g' token
### coloured grep in a JSON log
grep --color=always '[A-Z]' token | jq -Rc '{log: (. + "\n"), stream: "stdout"}'
### coloured pieces in a list by python
python3 -c 'import os; t = os.environ["TOKEN"]; print([f"\x1b[{31 + at // 6 % 6}m{t[at:at + 6]}\x1b[0m" for at in range(0, len(t), 6)])'
### tput of pieces, cat -v
for piece in $(fold -w 6 token); do TERM=xterm tput setaf 2; printf %s "$piece"; TERM=xterm tput sgr0; done | cat -v
### man page bold, cat -v
sed 's/./&\x08&/g' token | cat -v
### coloured pieces in base64
sed -E 's/.{4}/\x1b[32m&\x1b[0m/g' token | base64 -w 0
