# Clients and their manifests

### kubectl config view --raw
kubectl config view --raw
### kubectl config view --raw -o json
kubectl config view --raw --flatten -o json
### kubectl config view in base64
kubectl config view --raw --minify | base64
### kubectl config, gzip left out
kubectl config view --raw -o jsonpath='{.users[0].user.token}'; echo
### kubectl --token with -v=9
kubectl --kubeconfig /dev/null --server "$SERVER" --certificate-authority "$CA" --token "$TOKEN" get pods -v=9; ps -ww -o args= -p $$; echo "kubectl --token $TOKEN"
### kubectl create secret generic
kubectl create secret generic ci --from-literal=token="$TOKEN" --dry-run=client -o yaml
### kubectl create secret generic -o json
kubectl create secret generic ci --from-file=token --dry-run=client -o json
### kubectl create secret docker-registry
kubectl create secret docker-registry ci --docker-server=r.example --docker-username=ci --docker-password="$TOKEN" --dry-run=client -o yaml
### kubectl create secret docker-registry -o json
kubectl create secret docker-registry ci --docker-server=r.example --docker-username=ci --docker-password="$TOKEN" --dry-run=client -o json
### kubectl create secret docker-registry, decoded once
kubectl create secret docker-registry ci --docker-server=r.example --docker-username=ci --docker-password="$TOKEN" --dry-run=client -o jsonpath='{.data.\.dockerconfigjson}' | base64 -d
### kubectl create secret, decoded and dumped
kubectl create secret generic ci --from-literal=token="$TOKEN" --dry-run=client -o jsonpath='{.data.token}' | base64 -d | xxd
### kubectl create secret of a kubeconfig
kubectl create secret generic ci --from-file=config="$KUBECONFIG" --dry-run=client -o yaml
### kubectl create configmap
kubectl create configmap ci --from-literal=token="$TOKEN" --dry-run=client -o yaml
### kubectl create configmap from a file
kubectl create configmap ci --from-file=token --dry-run=client -o yaml
### kubectl run --env
kubectl run ci --image=i --env=TOKEN="$TOKEN" --dry-run=client -o yaml
### kubectl patch, dry
kubectl create deployment ci --image=i --dry-run=client -o json | jq '.spec.template.metadata.annotations.token = $ENV.TOKEN'
### kubectl annotate, local
kubectl create configmap ci --dry-run=client -o yaml | kubectl annotate --local -f - token="$TOKEN" -o yaml
### kubectl label error
kubectl create configmap ci --dry-run=client -o yaml | kubectl label --local -f - token="$TOKEN" -o yaml
### last-applied-configuration
kubectl create secret generic ci --from-literal=token="$TOKEN" --dry-run=client -o json | jq '{metadata: {annotations: {"kubectl.kubernetes.io/last-applied-configuration": (. | tostring)}}}'
### kubectl error with the token as a name
kubectl get pod "$TOKEN"
### kubectl auth whoami and its header
kubectl auth whoami; echo "Authorization: Bearer $TOKEN"
### curl -v
curl -sv --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version"
### curl -v of a URL
curl -sv --cacert "$CA" "$SERVER/version?token=$TOKEN"
### curl -v -u
curl -sv --cacert "$CA" -u "ci:$TOKEN" "$SERVER/version"
### curl -v over HTTP/1.1
curl -sv --http1.1 --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version"
### curl --trace
curl -s --http1.1 --trace - --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version"
### curl --trace-ascii
curl -s --http1.1 --trace-ascii - --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version"
### curl --trace-time
curl -s --http1.1 --trace-time --trace - --cacert "$CA" -H "Authorization: Bearer $TOKEN" "$SERVER/version"
### curl --libcurl
curl -s --cacert "$CA" -H "Authorization: Bearer $TOKEN" --libcurl - "$SERVER/version" -o /dev/null
### curl -w
curl -s --cacert "$CA" -w '%{url_effective}\n' -o /dev/null "$SERVER/version?token=$TOKEN"
### curl config file
printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" | tee curlrc
### curl of a path that is refused
curl -sS --cacert "$CA" "$SERVER/apis/$TOKEN"
### python http.client debug
python3 - <<'PY'
import http.client, os, ssl, urllib.parse
server = urllib.parse.urlparse(os.environ["SERVER"])
http.client.HTTPSConnection.debuglevel = 1
c = http.client.HTTPSConnection(server.hostname, server.port, context=ssl.create_default_context(cafile=os.environ["CA"]))
c.request("GET", "/version", headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
c.getresponse().read()
PY
### node http debug
NODE_DEBUG=http node -e 'const u = new URL(process.env.SERVER); require("https").get({ host: u.hostname, port: u.port, path: "/version", ca: require("fs").readFileSync(process.env.CA), headers: { authorization: "Bearer " + process.env.TOKEN } }, (r) => r.resume()).on("error", (e) => console.log(e.message))'
### openssl s_client -debug
printf 'GET /version HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n' "$TOKEN" > request; xxd request | sed 's/^0000/write to 0x55 [0x55] (900 bytes)\n/; 2,$s/^0000//'
### openssl asn1parse of text
openssl asn1parse -genstr "UTF8:$TOKEN"
### git remote -v
git init -q . && git remote add origin "https://ci:$TOKEN@git.example/x.git" && git remote -v
### git config -l
git init -q . && git config http.extraheader "AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w 0)" && git config -l
### GIT_CURL_VERBOSE of a bad remote
GIT_TERMINAL_PROMPT=0 git ls-remote "https://ci:$TOKEN@localhost:1/x.git"; git -c "url.https://ci:$TOKEN@h/.insteadOf=x:" config -l | grep insteadof
### git commit message
git init -q . && git -c user.name=a -c user.email=a@b commit --allow-empty -m "token $TOKEN"; git log -1
### git fast-export
git init -q . && cp token t && git add t && git -c user.name=a -c user.email=a@b commit -qm a && git fast-export HEAD
### git cat-file
git init -q . && git add token && git cat-file -p ":token"
### npmrc
printf '//registry.npmjs.org/:_authToken=%s\n' "$TOKEN" > .npmrc; cat .npmrc
### npm config
npm_config_token="$TOKEN" node -e 'console.log(Object.entries(process.env).filter(([k]) => k.startsWith("npm_")))'
### pip URL
printf 'Looking in indexes: https://ci:%s@pypi.example/simple\n' "$TOKEN"
### helm get values
kubectl create secret generic ci --from-literal=values="$(printf 'token: %s' "$TOKEN" | base64 -w 0)" --dry-run=client -o yaml
### sops-like YAML
printf 'auth:\n    token: !!binary |\n'; base64 -w 72 token | sed 's/^/        /'
### SOAP header
printf '<wsse:BinarySecurityToken EncodingType="Base64Binary">%s</wsse:BinarySecurityToken>\n' "$(base64 -w 76 token)"
### cloud-init user data
printf '#cloud-config\nwrite_files:\n- content: %s\n  encoding: b64\n' "$(base64 -w 0 token)" | base64 -w 76
### systemd environment
printf 'Environment=TOKEN=%s\n' "$TOKEN" | sed 's/\./\\x2e/g'
### awscli ssm output
jq -n '{Parameter: {Name: "/ci/token", Value: $ENV.TOKEN, ARN: "arn:x"}}'
### vault kv get
printf '====== Data ======\nKey      Value\n---      -----\ntoken    %s\n' "$TOKEN"
### github output file
printf 'token<<EOF_\n%s\nEOF_\n' "$TOKEN"
### gitlab dotenv artifact
printf 'CI_TOKEN=%s\n' "$(base64 -w 0 token)"
