# Escapes

### json in json
jq -n '{token: $ENV.TOKEN} | tostring'
### json in json in json
jq -n '{body: ({token: $ENV.TOKEN} | tostring)} | tostring'
### jq @uri @sh @html
jq -nr '$ENV.TOKEN | @uri, @sh, @html, @csv "\([.])", @tsv "\([.])"'
### \u for every character
python3 -c 'import os; print("".join("\\u%04x" % ord(c) for c in os.environ["TOKEN"]))'
### \u for the dots
python3 -c 'import os; print(os.environ["TOKEN"].replace(".", "\\u002e").replace("-", "\\u002d").replace("_", "\\u005f"))'
### \u{} of Rust
python3 -c 'import os; print("".join("\\u{%x}" % ord(c) for c in os.environ["TOKEN"]))'
### \U of C
python3 -c 'import os; print("".join("\\U%08x" % ord(c) for c in os.environ["TOKEN"]))'
### octal escapes
python3 -c 'import os; print("".join("\\%03o" % b for b in os.environ["TOKEN"].encode()))'
### printf %b source
python3 -c 'import os; print("".join("\\0%03o" % b for b in os.environ["TOKEN"].encode()))'
### re.escape
python3 -c 'import os, re; print(re.escape(os.environ["TOKEN"]))'
### a regex with classes
python3 -c 'import os; print(os.environ["TOKEN"].replace(".", "[.]").replace("-", "[-]"))'
### perl quotemeta
perl -e 'print quotemeta($ENV{TOKEN}), "\n"'
### sed's l
sed -n l token
### sed's l with a width
sed -n 'l 40' token
### cat -v of high bytes
printf 'caf\303\251 %s\n' "$TOKEN" | cat -v
### ls of a file that is called so
ls --quoting-style=c -d "./${TOKEN:0:120}" "./${TOKEN: -250}"
### percent-encoding of all
printf %s "$TOKEN" | xxd -p | tr -d '\n' | sed 's/../%&/g' | tr a-f A-F; echo
### percent-encoding of the dots
printf '%s\n' "${TOKEN//./%2E}"
### percent-encoding of some
python3 -c 'import os; print("".join("%%%02X" % ord(c) if c in ".-_eE" else c for c in os.environ["TOKEN"]))'
### percent-encoding twice
printf %s "$TOKEN" | sed 's/\./%252E/g; s/-/%252D/g; s/_/%255F/g'; echo
### python urllib quote
python3 -c 'import os, urllib.parse as u; print(u.urlencode({"token": "Bearer " + os.environ["TOKEN"]}))'
### python url of base64
python3 -c 'import base64, os, urllib.parse as u; print(u.quote(base64.b64encode(os.environ["TOKEN"].encode())))'
### node encodeURIComponent
node -e 'console.log(encodeURIComponent("Bearer " + process.env.TOKEN))'
### node escape of base64
node -e 'console.log(escape(btoa("a:" + process.env.TOKEN)))'
### node util.inspect nested
node -e 'console.log(JSON.stringify(JSON.stringify({ t: process.env.TOKEN })))'
### XML decimal references
python3 -c 'import os; print("".join("&#%d;" % ord(c) for c in os.environ["TOKEN"]))'
### XML hexadecimal references
python3 -c 'import os; print("".join("&#x%X;" % ord(c) for c in os.environ["TOKEN"]))'
### XML references of punctuation
python3 -c 'import os; print(os.environ["TOKEN"].replace(".", "&#46;").replace("-", "&#45;").replace("_", "&#95;"))'
### HTML with entities around
printf '<td>&quot;%s&quot;</td>\n' "$TOKEN"
### HTML word breaks
printf '%s\n' "$TOKEN" | sed 's/.\{30\}/&<wbr>/g'
### HTML spans
printf '%s\n' "$TOKEN" | sed 's/.\{24\}/<span class="k">&<\/span>/g'
### quoted-printable
perl -MMIME::QuotedPrint -e 'print encode_qp($ENV{TOKEN})'
### quoted-printable of all
python3 -c 'import os; print("".join("=%02X" % b for b in os.environ["TOKEN"].encode()))'
### python quopri
python3 -c 'import os, quopri; print(quopri.encodestring(os.environ["TOKEN"].encode()).decode())'
### UTF-16LE
printf %s "$TOKEN" | iconv -t UTF-16LE; echo
### UTF-16BE with a mark
printf %s "$TOKEN" | iconv -t UTF-16; echo
### UTF-32
printf %s "$TOKEN" | iconv -t UTF-32; echo
### hex of UTF-16
printf %s "$TOKEN" | iconv -t UTF-16LE | xxd -p | tr -d '\n'; echo
### xxd of UTF-16
printf %s "$TOKEN" | iconv -t UTF-16LE | xxd
### python repr of UTF-16
python3 -c 'import os; print(os.environ["TOKEN"].encode("utf-16"))'
### YAML double-quoted, folded
printf %s "$TOKEN" | sed 's/.\{70\}/&\\\n  \\/g' | sed '1s/^/token: "/; $s/$/"/'; echo
### shell words joined
printf %s "$TOKEN" | sed "s/.\{40\}/&''/g"; echo
### shell with a backslash at line ends
printf %s "$TOKEN" | sed 's/.\{60\}/&\\\n/g'; echo
### ANSI-C quoting of all
printf "\$'%s'\n" "$(printf %s "$TOKEN" | xxd -p | tr -d '\n' | sed 's/../\\x&/g')"
### LDIF
printf 'userPassword:: %s\n' "$(base64 -w 60 token | sed '2,$s/^/ /')"
### properties file
printf 'token=%s\n' "$TOKEN" | sed 's/[-.]/\\&/g'
### caret escapes of cmd
printf '%s\n' "$TOKEN" | sed 's/[-._]/^&/g'
### names for the characters
tr . '~' < token | sed 's/[0-9]/<&>/g; s/e/ECHO/g'
### signature as Lua quotes it
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print("".join(chr(b) if 32 <= b < 127 and b not in b"\"\\" else "\\%03d" % b for b in s))'
### signature as Haskell shows it
python3 -c 'import base64, os; s = base64.urlsafe_b64decode(os.environ["TOKEN"].split(".")[2] + "=="); print("".join((chr(b) if 32 <= b < 127 and b not in b"\"\\" else "\\DEL" if b == 127 else "\\%d" % b + ("\\&" if s[at + 1:at + 2].isdigit() else "")) for at, b in enumerate(s)))'
