# Parts of a JWT

### signature
cut -d. -f3 token
### all parts
IFS=. read -r header payload signature < token; echo "header=$header payload=$payload signature=$signature"
### parts in lines
tr . '\n' < token; echo
### signature in the standard alphabet
cut -d. -f3 token | tr -- -_ +/
### signature with padding
s=$(cut -d. -f3 token | tr -- -_ +/); while [ $((${#s} % 4)) != 0 ]; do s="$s="; done; echo "$s"
### signature decoded, in hex
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | xxd -p
### signature decoded, in a dump
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | xxd
### signature decoded, hexdump -C
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | hexdump -C
### signature decoded, in base64 lines
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | base64
### signature decoded, raw
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null
### signature decoded, cat -v
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | cat -v
### signature decoded, cat -A in lines
s=$(cut -d. -f3 token | tr -- -_ +/); printf '%s==' "$s" | base64 -d 2>/dev/null | cat -A | fold -w 60
### signature as a python repr
python3 -c 'import base64, os; print(base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="))'
### signature as decimal bytes
python3 -c 'import base64, os; print(list(base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")))'
### signature as Java's signed bytes
python3 -c 'import base64, os; print([b - 256 if b > 127 else b for b in base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==")])'
### signature in hex with colons
python3 -c 'import base64, os; print(base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==").hex(":"))'
### signature as openssl's text
python3 -c 'import base64, os; h = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "==").hex(":"); print("Signature Value:\n        " + "\n        ".join(h[i:i + 54] for i in range(0, len(h), 54)))'
### signature by node
node -e 'console.log(Buffer.from(process.env.TOKEN.split(".")[2], "base64url").toString("base64"))'
### signature by node in hex
node -e 'console.log(Buffer.from(process.env.TOKEN.split(".")[2], "base64url").toString("hex"))'
### payload and signature
cut -d. -f2- token
### jq splits
jq -n '$ENV.TOKEN | split(".")'
### jq splits, raw
jq -nr '$ENV.TOKEN | split(".")[]'
### jq debugs
jq -n '$ENV.TOKEN | split(".") | debug | length'
### jwt.io style
jq -nr '$ENV.TOKEN | split(".") | {header: (.[0] | @base64d | fromjson), payload: (.[1] | @base64d | fromjson? // "cut"), signature: .[2]}'
### node's debugging line
node -e 'const [h, p, s] = process.env.TOKEN.split("."); console.log(JSON.parse(Buffer.from(h, "base64url")), JSON.parse(Buffer.from(p, "base64url")), s)'
### JWS in JSON
jq -n '$ENV.TOKEN | split(".") | {payload: .[1], signatures: [{protected: .[0], signature: .[2]}]}'
### signature in base64 once more
cut -d. -f3 token | base64
### signature in hex digits of its text
cut -d. -f3 token | tr -d '\n' | xxd -p
### signature with a label on each line
cut -d. -f3 token | fold -w 50 | sed 's/^/sig: /'
### signature, upside down in lines
cut -d. -f3 token | fold -w 57 | tac
### signature in the standard alphabet, folded
cut -d. -f3 token | tr -- -_ +/ | fold -w 64
### signature in a cookie of its own
cut -d. -f3 token | sed 's/^/Set-Cookie: jwt-sig=/; s/$/; HttpOnly/'
### signature as GUIDs
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); import uuid; [print(uuid.UUID(bytes_le=s[at:at + 16])) for at in range(0, len(s) - 15, 16)]'
### signature as Latin-1, twice
cut -d. -f3 token | tr _- /+ | sed 's/$/==/' | base64 -d | iconv -f latin1 -t utf-8 | iconv -f latin1 -t utf-8; echo
### signature as Python's bytes, eight a line
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); [print(at, bytearray(s[at:at + 8])) for at in range(0, len(s), 8)]'
### whole token by python's urlsafe_b64decode
python3 -c 'import base64, os; print(base64.urlsafe_b64decode(os.environ["TOKEN"] + "=="))'
### whole token as node decodes it
node -e 'console.log(Buffer.from(process.env.TOKEN, "base64").toString("latin1"))'
### bearer token in a parser of basic auth
node -e 'const [, text] = `Bearer ${process.env.TOKEN}`.split(" "); const [user, ...pass] = Buffer.from(text, "base64").toString("binary").split(":"); console.log({ user, pass: pass.join(":") })'
### whole token decoded into a list of bytes
node -e 'console.log(JSON.stringify([...Buffer.from(`token: ${process.env.TOKEN}`, "base64")]))'
