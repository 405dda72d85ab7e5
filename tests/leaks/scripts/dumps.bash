# Dumps

### xxd
xxd token
### xxd -u
xxd -u token
### xxd -g 1
xxd -g 1 token
### xxd -g 4
xxd -g 4 token
### xxd -g 8
xxd -g 8 token
### xxd -c 8
xxd -c 8 token
### xxd -c 32
xxd -c 32 token
### xxd -e
xxd -e token
### xxd -e -g 8
xxd -e -g 8 token
### xxd -b
xxd -b token
### xxd -d
xxd -d token
### xxd -o
xxd -o 4096 token
### xxd -s
xxd -s 20 token
### xxd -E
xxd -E token
### xxd of base64
base64 token | xxd
### xxd behind a prefix
xxd token | sed 's/^/app-1  | /'
### xxd without its text
xxd token | cut -c 1-50
### xxd's text alone
xxd token | cut -c 52-
### hexdump
hexdump token
### hexdump -v
hexdump -v token
### hexdump -C
hexdump -C token
### hexdump -b
hexdump -b token
### hexdump -c
hexdump -c token
### hexdump -d
hexdump -d token
### hexdump -o
hexdump -o token
### hexdump -x
hexdump -x token
### busybox hexdump
busybox hexdump token
### busybox hexdump -C
busybox hexdump -C token
### busybox xxd
busybox xxd token
### busybox od
busybox od token
### od
od token
### od -a
od -a token
### od -b
od -b token
### od -c
od -c token
### od -d
od -d token
### od -x
od -x token
### od -i
od -i token
### od -t x1
od -t x1 token
### od -t x1z
od -A x -t x1z -v token
### od -A d -t x1
od -A d -t x1 token
### od -t x2
od -A n -t x2 token
### od -t x4
od -t x4 token
### od -t x8
od -t x8 token
### od -t x2 --endian=big
od -t x2 --endian=big token
### od -t u1
od -t u1 token
### od -t d1
od -A n -t d1 token
### od -t o1
od -A n -t o1 token
### od -t o4
od -t o4 token
### od -t u2
od -t u2 token
### od -t u4
od -t u4 token
### od -w8
od -w8 -t x1 token
### od -w32 -c
od -w32 -c token
### tcpdump -X
xxd token | sed 's/^0000\(....\): /\t0x\1:  /'
### tshark -x
od -A x -t x1 -v token | sed 's/^00//; s/ /  /'
### curl --trace style
xxd -g 1 token | sed 's/^0000//; s/  / /'
### ruby hexdump in columns
xxd -g 1 -c 24 token | awk '{ $1 = ""; print NR ")" $0 }'
### gdb x/32xb
xxd -g 1 -c 8 token | awk '{ printf "0x7ffe%s", $1; for (i = 2; i <= 9; i++) printf "\t0x%s", $i; print "" }'
### gdb x/8xw
od -A n -v -t x4 token | awk '{ printf "0x55d0%04x:", NR * 16; for (i = 1; i <= NF; i++) printf "\t0x%s", $i; print "" }'
### openssl BIO dump
openssl asn1parse -genstr "OCT:$TOKEN" -noout -out t.der; openssl asn1parse -inform DER -in t.der -dump -i
### openssl s_client -msg style
xxd -p -c 16 token | sed 's/../& /g; s/^/    /'
### python hexdump by hand
python3 -c '
import os
t = os.environ["TOKEN"].encode()
for i in range(0, len(t), 16):
    line = t[i:i + 16]
    print("%04x  %-48s %s" % (i, " ".join("%02x" % b for b in line), line.decode()))'
### the text column with dots between lines
hexdump -C token | cut -d'|' -f2
### wireshark packet bytes
xxd -g 1 token | awk '{ printf "%s   ", substr($1, 5, 4); for (i = 2; i <= 17; i++) printf "%s ", $i; print "" }'
### signature decoded, od -c
cut -d. -f3 token | tr _- /+ | sed 's/$/==/' | base64 -d | od -c
### signature decoded, hexdump -c
cut -d. -f3 token | tr _- /+ | sed 's/$/==/' | base64 -d | hexdump -v -c
### hexdump -C of base64 -w 12
base64 -w 12 token | hexdump -v -C
### od -c of binary numbers
xxd -b -c 6 token | cut -c 11-63 | od -An -v -c
### three bytes a line beside an instruction
python3 -c 'import os; t = os.environ["TOKEN"].encode()
for at in range(0, len(t), 3): print(" %3x:\t%-21s\trex.WX imul $0x4a68,(%%rax),%%edi" % (at, " ".join("%02x" % b for b in t[at:at + 3])))'
