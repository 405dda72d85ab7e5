# Base64

### base64 -w 0 of echo
echo "$TOKEN" | base64 -w 0; echo
### base64 -w 0 of printf
printf %s "$TOKEN" | base64 -w 0; echo
### base64 in lines
echo "$TOKEN" | base64
### base64 -w 64
base64 -w 64 token
### base64 -w 20
base64 -w 20 token
### openssl base64
openssl base64 -in token
### openssl base64 -A
openssl base64 -A -in token; echo
### openssl enc -a
openssl enc -a < token
### python b64encode
python3 -c 'import base64, os; print(base64.b64encode(os.environ["TOKEN"].encode()))'
### python encodebytes
python3 -c 'import base64, os; print(base64.encodebytes(os.environ["TOKEN"].encode()).decode())'
### python repr of encodebytes
python3 -c 'import base64, os; print(base64.encodebytes(os.environ["TOKEN"].encode()))'
### python urlsafe_b64encode
python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.environ["TOKEN"].encode()).decode().rstrip("="))'
### python codecs
python3 -c 'import codecs, os; print(codecs.encode(os.environ["TOKEN"].encode(), "base64"))'
### node base64
node -e 'console.log(Buffer.from(process.env.TOKEN).toString("base64"))'
### node base64url
node -e 'console.log(Buffer.from(process.env.TOKEN).toString("base64url"))'
### node btoa
node -e 'console.log(btoa("ci:" + process.env.TOKEN))'
### perl MIME::Base64
perl -MMIME::Base64 -e 'print encode_base64($ENV{TOKEN})'
### jq @base64
jq -nr '$ENV.TOKEN | @base64'
### jq @base64 in JSON
jq -n '{data: {token: ($ENV.TOKEN | @base64)}}'
### basic auth
printf 'x:%s' "$TOKEN" | base64 -w 0; echo
### basic auth with a long user
printf 'oauth2accesstoken:%s' "$TOKEN" | base64 -w 0; echo
### basic auth of a short user
printf 'ci:%s' "$TOKEN" | base64
### in the middle of a text
printf 'token: %s, more' "$TOKEN" | base64 -w 0; echo
### base64url by tr
printf %s "$TOKEN" | base64 -w 0 | tr '+/' '-_' | tr -d =; echo
### base64 of a kubeconfig
printf 'users:\n- user:\n    token: %s\n' "$TOKEN" | base64
### base64 of JSON
jq -n '{token: $ENV.TOKEN}' | base64 -w 0; echo
### docker config
mkdir -p .docker; printf '{"auths":{"r":{"auth":"%s"}}}\n' "$(printf 'ci:%s' "$TOKEN" | base64 -w 0)" > .docker/config.json; cat .docker/config.json
### docker config in base64
printf '{"auths":{"r":{"auth":"%s"}}}\n' "$(printf 'ci:%s' "$TOKEN" | base64 -w 0)" | base64 -w 0; echo
### base64 twice
printf %s "$TOKEN" | base64 -w 0 | base64 -w 0; echo
### base64 twice in lines
printf %s "$TOKEN" | base64 | base64
### base64 twice of a longer text
printf 'token: %s' "$TOKEN" | base64 -w 0 | sed 's/^/data: /' | base64
### base64 with quotes and commas
printf %s "$TOKEN" | base64 -w 60 | sed 's/.*/"&",/'
### base64 with literal line breaks
printf %s "$TOKEN" | base64 | awk '{ printf "%s\\n", $0 } END { print "" }'
### base64 in JSON with line breaks
printf %s "$TOKEN" | base64 | jq -Rs '{data: .}'
### base64 in YAML
printf 'data:\n  token: |\n'; printf %s "$TOKEN" | base64 -w 70 | sed 's/^/    /'
### base64 in a data URL
printf 'data:text/plain;base64,%s\n' "$(base64 -w 0 token)"
### base64 in a URL
printf 'https://x/?t=%s\n' "$(base64 -w 0 token | jq -Rr @uri)"
### base64 in a PEM block
echo '-----BEGIN TOKEN-----'; base64 -w 64 token; echo '-----END TOKEN-----'
### base64 of UTF-16, as PowerShell wants
printf '$t = "%s"' "$TOKEN" | iconv -t UTF-16LE | base64 -w 0; echo
### base64 of a Secret's manifest
printf 'kind: Secret\ndata:\n  token: %s\n' "$(base64 -w 0 token)" | base64 -w 0; echo
### base64 with a prefix of each line
base64 token | sed 's/^/> /'
### base64, cut off
base64 -w 0 token | head -c -60; echo
### busybox base64
busybox base64 token
### uuencode -m
printf 'begin-base64 644 token\n%s\n====\n' "$(base64 -w 60 token)"
### MIME part
printf 'Content-Transfer-Encoding: base64\r\n\r\n'; base64 token | sed 's/$/\r/'
### saml-like hidden field
printf '<input type="hidden" name="t" value="%s"/>\n' "$(printf '<a>%s</a>' "$TOKEN" | base64 -w 0)"
### base64 twice in lines of 20 characters
base64 -w 0 token | base64 -w 20
