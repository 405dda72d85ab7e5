# Lists of bytes

### python list(bytes)
python3 -c 'import os; print(list(os.environ["TOKEN"].encode()))'
### python ord of each
python3 -c 'import os; print(*[ord(c) for c in os.environ["TOKEN"]])'
### python ord, one a line
python3 -c 'import os
for c in os.environ["TOKEN"]: print(ord(c))'
### python enumerate
python3 -c 'import os
for i, c in enumerate(os.environ["TOKEN"]): print(i, ord(c))'
### python bytearray in an array
python3 -c 'import array, os; print(array.array("B", os.environ["TOKEN"].encode()))'
### python tuple
python3 -c 'import os; print(tuple(os.environ["TOKEN"].encode()))'
### python bin
python3 -c 'import os; print(*["{:08b}".format(b) for b in os.environ["TOKEN"].encode()])'
### python bits in one run
python3 -c 'import os; print("".join("{:08b}".format(b) for b in os.environ["TOKEN"].encode()))'
### python oct
python3 -c 'import os; print([oct(b) for b in os.environ["TOKEN"].encode()])'
### python %o
python3 -c 'import os; print(*["%o" % b for b in os.environ["TOKEN"].encode()])'
### python struct, little-endian words
python3 -c 'import os, struct; t = os.environ["TOKEN"].encode(); t += b" " * (-len(t) % 4); print("words", *struct.unpack("<%dI" % (len(t) // 4), t))'
### Go %v of bytes
python3 -c 'import os; print("[" + " ".join(str(b) for b in os.environ["TOKEN"].encode()) + "]")'
### Go %v of a Secret
python3 -c 'import os; print("&Secret{Data:map[token:[" + " ".join(str(b) for b in os.environ["TOKEN"].encode()) + "]],Type:Opaque}")'
### Go %#v of bytes
python3 -c 'import os; print("[]byte{" + ", ".join(hex(b) for b in os.environ["TOKEN"].encode()) + "}")'
### Go % x
python3 -c 'import os; print(os.environ["TOKEN"].encode().hex(" "))'
### Java Arrays.toString
python3 -c 'import os; print(str([b - 256 if b > 127 else b for b in os.environ["TOKEN"].encode()]))'
### Java String.getBytes, one a line
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("  [%d] = %d" % (i, b))'
### Rust {:?} of bytes
python3 -c 'import os; print("Token(" + str(list(os.environ["TOKEN"].encode())) + ")")'
### Rust {:#?} of bytes
python3 -c 'import os; print("[\n" + "".join("    %d,\n" % b for b in os.environ["TOKEN"].encode()) + "]")'
### node JSON of a Buffer
node -e 'console.log(JSON.stringify(Buffer.from(process.env.TOKEN)))'
### node JSON of a Buffer, pretty
node -e 'console.log(JSON.stringify({ body: Buffer.from(process.env.TOKEN) }, null, 2))'
### node charCodeAt
node -e 'console.log([...process.env.TOKEN].map((c) => c.charCodeAt(0)).join(","))'
### node Uint8Array
node -e 'console.log(new Uint8Array(Buffer.from(process.env.TOKEN)).toString())'
### node inspects a Uint8Array
node -e 'console.log(require("util").inspect(new Uint8Array(Buffer.from(process.env.TOKEN)), { maxArrayLength: null }))'
### jq explode
jq -n '$ENV.TOKEN | explode'
### jq explode -c
jq -nc '$ENV.TOKEN | explode'
### jq utf8bytelength and explode
jq -nr '$ENV.TOKEN | explode | join(" ")'
### perl unpack C*
perl -e 'print join(" ", unpack("C*", $ENV{TOKEN})), "\n"'
### perl %vd
perl -e 'printf "%vd\n", $ENV{TOKEN}'
### od -An -tu1
od -An -v -tu1 token
### od -An -to1
od -An -v -to1 token | tr -s ' ' ','
### awk with a table of ord
LC_ALL=C awk 'BEGIN { for (i = 0; i < 256; i++) ord[sprintf("%c", i)] = i } { for (i = 1; i <= length($0); i++) printf "%d ", ord[substr($0, i, 1)]; print "" }' token
### bash printf of each character
for ((i = 0; i < ${#TOKEN}; i++)); do printf '%d ' "'${TOKEN:i:1}"; done; echo
### xxd -b without text
xxd -b token | cut -d' ' -f2-7
### bits by bc
xxd -b -c 1 token | awk '{ printf "%s", $2 } END { print "" }'
### hexdump -e in decimal
hexdump -v -e '/1 "%d,"' token; echo
### PHP var_dump of unpack
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("  [%d]=>\n  int(%d)" % (i + 1, b))'
### YAML list of bytes
python3 -c 'import os
for b in os.environ["TOKEN"].encode(): print("- %d" % b)'
### protobuf text with a bytes field
python3 -c 'import os; print("token: \"" + "".join("\\%03o" % b for b in os.environ["TOKEN"].encode()) + "\"")'
### python bin of each byte
python3 -c 'import os; print(*map(bin, os.environ["TOKEN"].encode()))'
### python floats
python3 -c 'import os; print(list(map(float, os.environ["TOKEN"].encode())))'
### signature as a list of bytes objects
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print([bytes([b]) for b in s])'
### signature as characters and numbers
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print(", ".join(repr(chr(b)) if chr(b).isalnum() and b < 128 else str(b) for b in s))'
### signature as gdb prints an array
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print("{" + ", ".join("%d %s" % (b - 256 if b > 127 else b, "\x27%c\x27" % b if 32 <= b < 127 and b not in b"\x27\\" else "\x27\\%03o\x27" % b) for b in s) + "}")'
### rows of six with an index
python3 -c 'import os; t = os.environ["TOKEN"].encode(); [print(at // 6, *t[at:at + 6]) for at in range(0, len(t), 6)]'
### four numbers a line behind the time
tail -c 342 token | od -An -v -tu1 -w4 | awk '{ printf "12:00:%02d rx %s\n", NR % 60, $0 }'
### python row of a Markdown table
python3 -c 'import os; print("| " + " | ".join(str(b) for b in os.environ["TOKEN"].encode()) + " |")'
### sqlite3 numbers with bars
python3 -c 'import os
t = os.environ["TOKEN"].encode()
for at in range(0, len(t), 10): print(" " + " | ".join("%3d" % b for b in t[at:at + 10]))'
### python hexadecimal row of a table
python3 -c 'import os; print("| " + " | ".join("%02x" % b for b in os.environ["TOKEN"].encode()) + " |")'
### bits of an image in PBM
python3 -c 'import os
bits = "".join(format(b, "08b") for b in os.environ["TOKEN"].encode())
for at in range(0, len(bits), 35): print(*bits[at:at + 35])'
### list of bits
python3 -c 'import os; print(",".join("".join(format(b, "08b") for b in os.environ["TOKEN"].encode())))'
### bits of each half of a byte
python3 -c 'import os; print(*(format(b >> s & 15, "04b") for b in os.environ["TOKEN"].encode() for s in (4, 0)))'
### python ast of a list
python3 -c 'import ast, os; print(ast.dump(ast.parse(str(list(os.environ["TOKEN"].encode()))), indent=1))'
### sqlite3 insert statements
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("INSERT INTO bytes(position, value, note) VALUES(%d, %d, \x27a byte of the token\x27);" % (i, b))'
### CSV with a note in each row
python3 -c 'import csv, os, sys; csv.writer(sys.stdout).writerows([i, b, "this is one byte of the token of the job"] for i, b in enumerate(os.environ["TOKEN"].encode()))'
### table with a long description
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("%6d | %3d | one byte of the token, in the order of the file" % (i, b))'
### metrics with a value for each byte
od -An -v -tu1 -w1 token | awk '{ printf "token_byte{index=\"%d\"} %d.0\n", NR, $1 }'
### python list of tuples with a note
python3 -c 'import os; print([(i, b, "a byte of the token, in its order") for i, b in enumerate(os.environ["TOKEN"].encode())])'
### python list of durations
python3 -c 'import datetime, os; print([datetime.timedelta(b) for b in os.environ["TOKEN"].encode()])'
### jq objects with a note
jq -Rc '[explode | to_entries[] | {position: .key, value, note: "a byte of the token"}]' token
### column -t of hexadecimal numbers
xxd -p -c 1 token | sed 's/^/0x/' | paste - - - - - - - - | column -t
### pr of hexadecimal numbers in eight columns
xxd -p -c 1 token | sed 's/^/0x/' | pr -8 -a -t
### hexdump -e with four digits for each byte
hexdump -v -e '"%07.7_ad  " 12/1 "%04u " "\n"' token
### xargs printf with five digits for each byte
od -An -v -tu1 -w1 token | xargs printf '%05d\n'
### xxd of UTF-32
iconv -f ASCII -t UTF-32LE token | xxd
### DeepDiff in sentences
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("Value of root[%d] changed from %d to %d." % (i, i * 31 % 256, b))'
### column -t of decimal numbers with bars
od -An -v -tu1 token | column -t -o ' | '
### node console.table of rows of eight bytes
node -e 'const bytes = [...require("fs").readFileSync("token")], rows = []; for (let at = 0; at < bytes.length; at += 8) rows.push(bytes.slice(at, at + 8)); console.table(rows)'
### numpy's list of mismatches
python3 -c 'for at, byte in enumerate(open("token", "rb").read()): print(f" [{at}]: {byte} (ACTUAL), {at % 7} (DESIRED)")'
### coloured pixels of an image
python3 -c 'import os
t = os.environ["TOKEN"].encode()
for at in range(0, 1041, 3): print("%d,0: (%d,%d,%d)  srgb(%d,%d,%d)  ImageMagick pixel" % (at // 3 + 100, *t[at:at + 3], *t[at:at + 3]))'
### binary digits in lines
basenc --base2msbf token
### words in decimal and in hexadecimal
python3 -c 'import os, struct; s = os.environ["TOKEN"].split(".")[2].encode(); [print(f"{at:4} {word:6} {word:#06x}") for at in range(0, len(s) - 1, 2) for word in struct.unpack("<H", s[at:at + 2])]'
