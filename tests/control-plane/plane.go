package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// patience is the time limit for a part to become ready. A part needs a few seconds, and more while a compiler runs beside it.
const patience = 3 * time.Minute

// auditPolicy records the user and the path of each request. It records no bodies, because the answers to TokenRequests contain tokens.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// plane is a control plane and its processes.
type plane struct {
	options
	processes []*process
}

// process is a running part.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan error
}

func (p *plane) start(ctx context.Context) (*ready, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	pki, err := writePKI(p.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot make certificates: %w", err)
	}
	if err := os.WriteFile(p.path("audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}

	etcd, err := p.startEtcd()
	if err != nil {
		return nil, err
	}
	if err := p.wait(ctx, "etcd", func() bool { return status(ctx, http.DefaultClient, etcd+"/health") == http.StatusOK }); err != nil {
		return nil, err
	}

	line := &ready{SigningKey: pki.signingKey, AuditLog: p.path("audit.log")}
	client := pki.administrator()
	var first string
	for number := range p.apiServers {
		url, err := p.startAPIServer(number, etcd)
		if err != nil {
			return nil, err
		}
		if err := p.wait(ctx, "kube-apiserver", func() bool { return status(ctx, client, url+"/readyz") == http.StatusOK }); err != nil {
			return nil, err
		}
		kubeconfig := p.path("admin.kubeconfig")
		if number > 0 {
			kubeconfig = p.path(fmt.Sprintf("admin-%d.kubeconfig", number+1))
		} else {
			first = url
		}
		if err := pki.writeKubeconfig(kubeconfig, url); err != nil {
			return nil, err
		}
		line.Kubeconfigs = append(line.Kubeconfigs, kubeconfig)
	}
	if line.Version, err = version(ctx, client, first); err != nil {
		return nil, err
	}
	if err := p.startControllerManager(); err != nil {
		return nil, err
	}
	// The controller manager is ready when it has created the ServiceAccount that every namespace has.
	account := first + "/api/v1/namespaces/default/serviceaccounts/default"
	if err := p.wait(ctx, "kube-controller-manager", func() bool { return status(ctx, client, account) == http.StatusOK }); err != nil {
		return nil, err
	}
	return line, nil
}

func (p *plane) startEtcd() (string, error) {
	client, peer, err := twoPorts()
	if err != nil {
		return "", err
	}
	// These are flags of etcd itself, so that etcd's own program also accepts them.
	arguments := []string{
		"--name=default",
		"--data-dir=" + p.path("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		// No test needs the data after a power cut, so etcd need not wait for the disk.
		"--unsafe-no-fsync",
	}
	cmd, err := p.part("etcd", arguments)
	if err != nil {
		return "", err
	}
	return client, p.run("etcd", cmd)
}

func (p *plane) startAPIServer(number int, etcd string) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	issuer := "https://kubernetes.default.svc.cluster.local"
	arguments := []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		// From 1.37 on, only the reconciler `none` accepts a loopback address.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--client-ca-file=" + p.path("ca.crt"),
		"--tls-cert-file=" + p.path("apiserver.crt"), "--tls-private-key-file=" + p.path("apiserver.key"),
		"--cert-dir=" + p.path("apiserver"),
		"--kubelet-client-certificate=" + p.path("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + p.path("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.path("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + p.path("sa.pub"), "--service-account-signing-key-file=" + p.path("sa.key"),
		"--audit-policy-file=" + p.path("audit-policy.yaml"), "--audit-log-path=" + p.path("audit.log"),
		"--profiling=false",
	}
	if number < len(p.authenticationConfigs) {
		arguments = append(arguments, "--authentication-config="+p.authenticationConfigs[number])
	}
	if number < len(p.longestTokens) {
		arguments = append(arguments, "--service-account-max-token-expiration="+p.longestTokens[number])
	}
	cmd, err := p.part("kube-apiserver", arguments)
	if err != nil {
		return "", err
	}
	name := "kube-apiserver"
	if number > 0 {
		name += "-" + strconv.Itoa(number+1)
	}
	return fmt.Sprintf("https://127.0.0.1:%d", port), p.run(name, cmd)
}

func (p *plane) startControllerManager() error {
	cmd, err := p.part("kube-controller-manager", []string{
		"--kubeconfig=" + p.path("admin.kubeconfig"),
		"--controllers=serviceaccount-controller,serviceaccount-token-controller,garbage-collector-controller,namespace-controller,legacy-serviceaccount-token-cleaner-controller",
		"--leader-elect=false",
		"--service-account-private-key-file=" + p.path("sa.key"), "--root-ca-file=" + p.path("ca.crt"),
		"--secure-port=0",
		// Many tests wait for a controller at the same time, and the default limits would slow the controllers down.
		"--kube-api-qps=500", "--kube-api-burst=1000",
	})
	if err != nil {
		return err
	}
	return p.run("kube-controller-manager", cmd)
}

// part returns the command of one part: the program of that name in the assets' folder, or else this program. For etcd, the flag etcd
// may name another program.
func (p *plane) part(name string, arguments []string) (*exec.Cmd, error) {
	if program := filepath.Join(p.assets, name); p.assets != "" && exists(program) {
		return exec.Command(program, arguments...), nil
	}
	if name == "etcd" && p.etcd != "" {
		return exec.Command(p.etcd, append([]string{name}, arguments...)...), nil
	}
	if _, ok := parts[name]; !ok {
		return nil, fmt.Errorf("%s is neither in this program nor in the folder %q: name a folder with it by --assets", name, p.assets)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(self, append([]string{name}, arguments...)...), nil
}

// run starts a part. The part's output goes to a log of its own.
func (p *plane) run(name string, cmd *exec.Cmd) error {
	log, err := os.Create(p.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = endWithUs()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	process := &process{name: name, cmd: cmd, done: make(chan error, 1)}
	go func() { process.done <- cmd.Wait() }()
	p.processes = append(p.processes, process)
	return nil
}

// wait returns when a part is ready. If the part ends or takes too long, the error names its log.
func (p *plane) wait(ctx context.Context, name string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ended := p.ended()
	for !ready() {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready; its log is %s", name, p.path(name+".log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// ended returns a channel that receives an error when the first part ends without being killed.
func (p *plane) ended() <-chan error {
	first := make(chan error, len(p.processes))
	for _, process := range p.processes {
		go func() {
			err := <-process.done
			process.done <- err
			first <- fmt.Errorf("%s ended (%v); its log is %s", process.name, err, p.path(process.name+".log"))
		}()
	}
	return first
}

// kill ends all parts with SIGKILL, because an API server that still serves a watch takes a minute to stop.
func (p *plane) kill() {
	for _, process := range p.processes {
		_ = process.cmd.Process.Signal(syscall.SIGKILL)
		<-process.done
		process.done <- nil
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (p *plane) path(name string) string {
	return filepath.Join(p.dir, name)
}

func status(ctx context.Context, client *http.Client, url string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

func version(ctx context.Context, client *http.Client, server string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/version", nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	return version.GitVersion, json.NewDecoder(answer.Body).Decode(&version)
}

// administrator is a client with the administrator's certificate.
func (p *pki) administrator() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.ca)
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs:      roots,
			Certificates: []tls.Certificate{p.admin},
		}},
	}
}

func twoPorts() (string, string, error) {
	first, err := freePort()
	if err != nil {
		return "", "", err
	}
	second, err := freePort()
	return fmt.Sprintf("http://127.0.0.1:%d", first), fmt.Sprintf("http://127.0.0.1:%d", second), err
}

// freePort returns a port on which no program listened a moment ago.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
