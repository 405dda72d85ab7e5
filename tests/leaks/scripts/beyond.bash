# Beyond any mask

### gzip in base64
gzip -nc token | base64
### gzip in hex
gzip -nc token | xxd -p
### gzip of a text in base64
printf 'token: %s\n' "$TOKEN" | gzip -n | base64 -w 0; echo
### zlib by python
python3 -c 'import base64, os, zlib; print(base64.b64encode(zlib.compress(os.environ["TOKEN"].encode())).decode())'
### bzip2 in base64
python3 -c 'import base64, bz2, os; print(base64.b64encode(bz2.compress(os.environ["TOKEN"].encode())).decode())'
### tar.gz in base64
tar -cz token | base64
### openssl enc with a known password
openssl enc -aes-256-cbc -pbkdf2 -pass pass:debug -nosalt -a -in token
### openssl enc in hex
openssl enc -aes-128-cbc -K 00000000000000000000000000000000 -iv 00000000000000000000000000000000 -in token | xxd -p
### xor in hex
python3 -c 'import os; print(bytes(b ^ 42 for b in os.environ["TOKEN"].encode()).hex())'
### rev
rev token
### python reversed
python3 -c 'import os; print(os.environ["TOKEN"][::-1])'
### rev of base64
base64 -w 0 token | rev
### rot13
tr A-Za-z N-ZA-Mn-za-m < token; echo
### caesar by python
python3 -c 'import os; print("".join(chr(ord(c) + 1) for c in os.environ["TOKEN"]))'
### upper and lower case swapped
tr A-Za-z a-zA-Z < token; echo
### every second character
python3 -c 'import os; t = os.environ["TOKEN"]; print(t[::2], t[1::2])'
### base32
base32 -w 0 token; echo
### base85
python3 -c 'import base64, os; print(base64.b85encode(os.environ["TOKEN"].encode()).decode())'
### hex, reversed
xxd -p token | tr -d '\n' | rev; echo
### uuencode
python3 -c 'import binascii, os; t = os.environ["TOKEN"].encode(); [print(binascii.b2a_uu(t[i:i + 45]).decode(), end="") for i in range(0, len(t), 45)]'
### an integer by python
python3 -c 'import os; print(int.from_bytes(os.environ["TOKEN"].encode(), "big"))'
### floating-point numbers
od -An -v -t f8 token
### EBCDIC in hex
iconv -t IBM037 token | xxd -p
### base64, four times
base64 -w 0 token | base64 -w 0 | base64 -w 0 | base64 -w 0; echo
### read as UTF-16
printf %s "$TOKEN" | head -c 1000 | iconv -f utf-16le -t utf-8; echo
### each character twice
sed 's/./&&/g' token; echo
### dashes between the characters
sed 's/./&-/g' token; echo
### overlapping pairs
python3 -c 'import os; t = os.environ["TOKEN"]; print(*(a + b for a, b in zip(t, t[1:] + ".")))'
### three digits for each byte
python3 -c 'import os; print("".join("%03d" % b for b in os.environ["TOKEN"].encode()))'
### dd conv=swab
dd if=token conv=swab status=none; echo
### from the right to the left on a terminal
python3 -c 'import os; t = os.environ["TOKEN"]; print("".join("\x1b[%dG%s" % (at + 1, t[at]) for at in reversed(range(len(t)))))'
### signature read as the code page 437
cut -d. -f3 token | tr _- /+ | sed 's/$/==/' | base64 -d | iconv -f cp437 -t utf-8; echo
### hex with swapped digits
perl -e 'print unpack("h*", $ENV{TOKEN}), "\n"'
### base 36
node -e 'console.log([...process.env.TOKEN].map(c => c.charCodeAt(0).toString(36)).join(" "))'
### decimal numbers of Verilog
python3 -c 'import os; print(", ".join("8\x27d%d" % b for b in os.environ["TOKEN"].encode()))'
### Perl's Storable of the characters
perl -MStorable=freeze -e 'print unpack("H*", freeze([split //, $ENV{TOKEN}])), "\n"'
### decimal numbers with an exponent
python3 -c 'import os; print(" ".join("%e" % b for b in os.environ["TOKEN"].encode()))'
### binary numbers of Verilog
python3 -c 'import os; print(", ".join("8\x27b%s" % format(b, "08b") for b in os.environ["TOKEN"].encode()))'
### two numbers for each byte
python3 -c 'import os
for i, b in enumerate(os.environ["TOKEN"].encode()): print("byte %d: hi=%x lo=%x" % (i, b >> 4, b & 15))'
### signed hexadecimal numbers without separators
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print("".join("-%02x" % (256 - b) if b > 127 else "%02x" % b for b in s))'
### hexadecimal digits in two rows
python3 -c 'import os
t = os.environ["TOKEN"]
for at in range(0, len(t), 64): print(*("".join("%x" % (ord(c) >> s & 15) for c in t[at:at + 64]) for s in (4, 0)), "", sep="\n")'
### Bencode of the characters
python3 -c 'import os; print("l" + "".join("1:" + c for c in os.environ["TOKEN"]) + "e")'
### Bencode of the numbers
python3 -c 'import os; print("l" + "".join("i%de" % b for b in os.environ["TOKEN"].encode()) + "e")'
### signature as TeX shows it
python3 -c 'import base64, os
s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")
print("".join(chr(b) if 32 <= b < 127 else "^^%c" % (b ^ 64) if b < 128 else "^^%02x" % b for b in s))'
### 64-bit words as WinDbg shows them
od -An -v -t x8 token | sed 's/ \(........\)/ \1`/g; s/^/00007ffe`1a2b3c40 /'
### pickle of the characters
python3 -c 'import os, pickle; print(pickle.dumps(list(os.environ["TOKEN"]), 0).decode())'
### pickle of the numbers
python3 -c 'import os, pickle; print(pickle.dumps(list(os.environ["TOKEN"].encode()), 0).decode())'
### MessagePack of the characters
python3 -c 'import os; print("dc0412" + "".join("a1%02x" % b for b in os.environ["TOKEN"].encode()))'
### CBOR of the numbers
python3 -c 'import os; print("9f" + "".join("18%02x" % b for b in os.environ["TOKEN"].encode()) + "ff")'
### bits as dots and hash signs
python3 -c 'import os; print("\n".join(format(b, "08b").translate({48: ".", 49: "#"}) for b in os.environ["TOKEN"].encode()))'
### bits as true and false
python3 -c 'import os; print([bool(b >> s & 1) for b in os.environ["TOKEN"].encode() for s in range(7, -1, -1)])'
### bits, the lowest first
perl -e 'print unpack("b*", $ENV{TOKEN}), "\n"'
### values of the digits of base64
python3 -c 'import os
digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
print([digits.index(c) for c in os.environ["TOKEN"].split(".")[2]])'
### columns with a common factor, as Octave shows them
python3 -c 'import os
t = os.environ["TOKEN"].encode()
print("ans =\n\n Columns 1 through 8:\n")
for at in range(0, len(t), 8): print("".join("%10.5f" % (b / 100) for b in t[at:at + 8]))'
### decimal numbers with a unit
od -An -v -tu1 -w1 token | numfmt --padding=8 --suffix=B
### od -c of decimal numbers
od -An -v -tu1 token | od -An -v -c
### grey pixels of an image
python3 -c 'import os
for at, b in enumerate(os.environ["TOKEN"].encode()): print("%d,0: (%d,%d,%d)  #%s  gray(%d)" % (at, b * 257, b * 257, b * 257, ("%02X" % b) * 6, b))'
### seven numbers and seven characters in turns
hexdump -v -e '7/1 "%3u " " |" 7/1 "%_p" "|\n"' token
### signed numbers without separators
python3 -c 'import base64, os
s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")
print("".join("% d" % (b - 256 if b > 127 else b) for b in s))'
