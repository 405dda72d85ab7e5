# Folded, cut and joined

### fold -w 76
fold -w 76 token
### fold -w 60
fold -w 60 token
### fold -w 40
fold -w 40 token
### fold -w 20
fold -w 20 token
### fold -w 16
fold -w 16 token
### fold -w 10
fold -w 10 token
### fold -w 4
fold -w 4 token
### one character a line
fold -w 1 token
### grep -o of each character
grep -o . token | tr '\n' ' '; echo
### sed with a blank between
sed 's/./& /g' token
### fmt of words
sed 's/.\{30\}/& /g' token | fmt -w 62
### fold and paste with commas
fold -w 40 token | paste -sd,
### fold and paste with blanks
fold -w 40 token | paste -sd' '
### fold and paste with tabs
fold -w 50 token | paste -s
### fold and paste in three columns
fold -w 40 token | paste - - -
### fold and column
fold -w 30 token | column -c 120
### fold and column -x
fold -w 30 token | column -x -c 120
### fold and pr -2
fold -w 34 token | pr -t -2 -w 72
### fold and tac
fold -w 60 token | tac
### fold and sort
fold -w 40 token | sort
### fold and nl
fold -w 60 token | nl
### fold and quotes with commas
fold -w 64 token | sed 's/.*/"&",/'
### fold and python's adjacent strings
fold -w 64 token | sed "s/.*/    '&'/"
### fold and string concatenation
fold -w 64 token | sed "s/.*/  '&' +/"
### fold and dots of PHP
fold -w 64 token | sed 's/.*/  "&" ./'
### fold with a blank line between
fold -w 50 token | sed G
### parts with names
printf 'part0=%s part1=%s part2=%s\n' "${TOKEN:0:300}" "${TOKEN:300:300}" "${TOKEN:600}"
### an array of parts
printf '["%s","%s","%s"]\n' "${TOKEN:0:200}" "${TOKEN:200:400}" "${TOKEN:600}"
### cut off
head -c -40 token; echo
### the middle
cut -c300- token | head -c -20; echo
### the end
cut -c500- token
### an ellipsis in the middle
printf '%s...%s\n' "${TOKEN:0:60}" "${TOKEN: -300}"
### without its beginning
printf '%s\n' "${TOKEN#*.}"
### last characters
tail -c 300 token
### split into files
split -b 100 token piece-; tail -n +1 piece-*
### split with echo between
for ((i = 0; i < ${#TOKEN}; i += 90)); do echo "chunk $((i / 90)): ${TOKEN:i:90}"; done
### python textwrap
python3 -c 'import os, textwrap; print(textwrap.fill(os.environ["TOKEN"], 70))'
### python textwrap, indented
python3 -c 'import os, textwrap; print(textwrap.indent(textwrap.fill(os.environ["TOKEN"], 48), "    "))'
### python pprint with a width
python3 -c 'import os, pprint; pprint.pprint({"token": [os.environ["TOKEN"][i:i + 50] for i in range(0, len(os.environ["TOKEN"]), 50)]})'
### YAML folded
printf 'token: >-\n'; fold -w 70 token | sed 's/^/  /'
### YAML literal
printf 'token: |\n'; fold -w 70 token | sed 's/^/      /'
### jq of pieces
fold -w 80 token | jq -R . | jq -s .
### dots and newlines
tr . '\n' < token; echo
### segments with blanks
sed 's/\./ . /g' token
### segments with slashes
printf '%s\n' "${TOKEN//./ / }"
### every second line on stderr
fold -w 60 token | while read -r line; do echo "$line"; read -r line && echo "$line" >&2; done
### a ruler between
fold -w 60 token | sed 's/$/\n----+----1----+----2/'
### markdown line breaks
fold -w 60 token | sed 's/$/  /'
### LaTeX breaks
fold -w 60 token | sed 's/$/\\\\/'
### awk FIELDWIDTHS by hand
awk '{ for (i = 1; i <= length($0); i += 32) print substr($0, i, 32) }' token
### dd of blocks
for i in 0 1 2 3 4 5 6 7 8 9; do dd if=token bs=128 count=1 skip=$i 2>/dev/null; echo; done
### tabs by cat -A
fold -w 24 token | sed 's/....../&\t/g' | cat -A
### events of a stream
fold -w 4 token | jq -Rc '{choices: [{delta: {content: .}, index: 0}]}' | sed 's/^/data: /; s/$/\n/'
### strings of an assembler
fold -w 8 token | sed 's/.*/\t.ascii\t"&"/'
### declare -p of an array of pieces
pieces=($(fold -w 5 token)); declare -p pieces
### base64 -w 4 and nl
base64 -w 4 token | nl
### jq's offsets of matches
jq -n '$ENV.TOKEN | [match(".{1,6}"; "g") | {offset, length, string}]'
### jq's TSV of pieces
jq -nr '$ENV.TOKEN | [scan(".{1,4}")] | to_entries[] | [.key, .value, (.value | length), "ok"] | @tsv'
### CDATA
sed 's/..../&]]><![CDATA[/g' token; echo
### strings of a PDF
sed 's/...../(&)-12.5/g' token; echo
### set -x of a loop over pieces
set -x; for piece in $(fold -w 7 token); do echo "$piece"; done
### characters in a YAML list of objects
fold -w 1 token | sed 's/^/- c: /'
### spans with attributes
fold -w 5 token | awk '{printf "<span class=\"t\" data-i=\"%d\">%s</span>", NR, $0} END {print ""}'
### a file named by each character
mkdir l; cd l; i=100; for c in $(fold -w1 ../token | tail -342); do touch "$i-$c"; i=$((i + 1)); done; ls
### two characters behind a label
fold -w 2 token | sed 's/.*/piece "&"/'
