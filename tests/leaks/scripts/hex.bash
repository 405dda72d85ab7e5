# Hexadecimal digits

### xxd -p in one line
printf %s "$TOKEN" | xxd -p | tr -d '\n'; echo
### xxd -p -u in one line
printf %s "$TOKEN" | xxd -p -u | tr -d '\n'; echo
### xxd -p
xxd -p token
### xxd -ps -c 20
xxd -ps -c 20 token
### xxd -p behind a prefix
xxd -p token | sed 's/^/hex: /'
### od -An -tx1 in one line
od -An -v -tx1 token | tr -d ' \n'; echo
### od -An -tx1
od -An -v -tx1 token
### hexdump -e
hexdump -v -e '/1 "%02x"' token; echo
### hexdump -e with blanks
hexdump -v -e '/1 "%02x "' token; echo
### hexdump -e with 0x and commas
hexdump -v -e '/1 "0x%02X, "' token; echo
### hexdump -e four bytes a line
hexdump -v -e '4/1 "%02x " "\n"' token
### python hex
python3 -c 'import os; print(os.environ["TOKEN"].encode().hex())'
### python hex with colons
python3 -c 'import os; print(os.environ["TOKEN"].encode().hex(":"))'
### python hex with blanks every four
python3 -c 'import os; print(os.environ["TOKEN"].encode().hex(" ", 4))'
### python hex with dashes, upper case
python3 -c 'import os; print(os.environ["TOKEN"].encode().hex("-").upper())'
### python binascii.hexlify
python3 -c 'import binascii, os; print(binascii.hexlify(os.environ["TOKEN"].encode()))'
### python list of hex
python3 -c 'import os; print([hex(b) for b in os.environ["TOKEN"].encode()])'
### python hex escapes
python3 -c 'import os; print("".join("\\x%02x" % b for b in os.environ["TOKEN"].encode()))'
### node hex
node -e 'console.log(Buffer.from(process.env.TOKEN).toString("hex"))'
### node inspects a Buffer
node -e 'require("buffer").INSPECT_MAX_BYTES = 1e6; console.log(Buffer.from(process.env.TOKEN))'
### perl unpack
perl -e 'print unpack("H*", $ENV{TOKEN}), "\n"'
### perl sprintf %vd in hex
perl -e 'printf "%vx\n", $ENV{TOKEN}'
### C array
printf 'unsigned char t[] = {'; xxd -i < token; echo '};'
### xxd -i of a file
xxd -i token
### xxd -i -C
xxd -i -C token
### Go []byte in hex
printf '[]byte{%s}\n' "$(hexdump -v -e '/1 "0x%x, "' token)"
### sql literal
printf "INSERT INTO t VALUES (x'%s');\n" "$(xxd -p token | tr -d '\n')"
### postgres bytea
printf '\\\\x%s\n' "$(xxd -p token | tr -d '\n')"
### strace -xx
printf 'write(3, "%s", 900) = 900\n' "$(xxd -p token | tr -d '\n' | sed 's/../\\x&/g')"
### openssl asn1parse
openssl asn1parse -genstr "UTF8:$TOKEN" -noout -out t.der; openssl asn1parse -inform DER -in t.der -dump
### rsa-like text with colons
printf 'token:\n'; xxd -p -c 15 token | sed 's/../&:/g; s/^/    /'
### hex in upper case with blanks
od -An -v -tx1 token | tr a-f A-F
### hex of base64
base64 -w 0 token | xxd -p
### base64 of hex
xxd -p token | tr -d '\n' | base64 -w 0; echo
### hex twice
xxd -p token | tr -d '\n' | xxd -p
### hex in JSON
jq -n --arg hex "$(xxd -p token | tr -d '\n')" '{token: $hex}'
### hex folded with a backslash
xxd -p -c 32 token | sed 's/$/ \\/'
### hex in percent signs
printf %s "$TOKEN" | xxd -p | tr -d '\n' | sed 's/../%&/g'; echo
### memory view with an offset
xxd -p -c 8 token | awk '{ printf "+%02d: %s\n", NR * 8 - 8, $0 }'
### a list of byte casts in Java
cut -d. -f3 token | python3 -c 'import base64, sys; print(", ".join("(byte)0x%02x" % b for b in base64.urlsafe_b64decode(sys.stdin.read().strip() + "==")))'
### a list of Swift numbers
python3 -c 'import os; print("[" + ", ".join("UInt8(0x%02x)" % b for b in os.environ["TOKEN"].encode()) + "]")'
### python hex of each byte, joined
python3 -c 'import os; print("".join(map(hex, os.environ["TOKEN"].encode())))'
### assembler
python3 -c 'import os; print("db " + ", ".join("0%02Xh" % b for b in os.environ["TOKEN"].encode()))'
### BASIC
python3 -c 'import os; print(", ".join("&H%02X" % b for b in os.environ["TOKEN"].encode()))'
### Erlang and Ada
python3 -c 'import os; print("<<" + ",".join("16#%X" % b for b in os.environ["TOKEN"].encode()) + ">>")'
### signature as signed hexadecimal numbers
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print(*[hex(b - 256 if b > 127 else b) for b in s])'
### six bytes a line behind a label
python3 -c 'import os; t = os.environ["TOKEN"].encode(); [print("neigh", at // 6, "lladdr", t[at:at + 6].hex(":"), "REACHABLE") for at in range(0, len(t), 6)]'
### four bytes a line in one number
python3 -c 'import os; t = os.environ["TOKEN"].encode(); [print(f"[{at:6d}] rx data={t[at:at + 4].hex()} ok") for at in range(0, len(t), 4)]'
### registers, decimal and hexadecimal
python3 -c 'import os, struct; t = os.environ["TOKEN"].encode(); t += b" " * (len(t) % 2); [print(f"reg[{40001 + i}] = {h} (0x{h:04X})") for i, h in enumerate(struct.unpack(f">{len(t) // 2}H", t))]'
### hexadecimal digits and text in two columns
fold -w 8 token | while read -r l; do printf '%s\t%s\n' "$(printf %s "$l" | xxd -p)" "$l"; done
### six bytes a line behind a long prefix
od -An -v -t x1 -w6 token | sed 's/^/2026-11-27T03:24:10.716Z runner-7 uart0 debug: rx /'
### addresses of six bytes in long lines
python3 -c 'import os
t = os.environ["TOKEN"].encode()
for at in range(0, 1038, 6): print("    link/ether %s brd ff:ff:ff:ff:ff:ff" % t[at:at + 6].hex(":"))'
### CBOR of eight bytes each
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print("".join("48" + s[at:at + 8].hex() for at in range(0, len(s), 8)))'
