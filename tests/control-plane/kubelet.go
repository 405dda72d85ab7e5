package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// nodeName is the name of the one Node.
const nodeName = "local"

// idle is the time after which the kubelet closes a stream without data. The kubelet of Kubernetes waits as
// long.
const idle = 4 * time.Hour

// kubelet is a node for tests. The container of a Pod is a process of this machine: there are no images, no isolation and no terminals.
// The kubelet serves logs, exec, attach and port-forward with the streaming code of Kubernetes' own kubelet.
type kubelet struct {
	dir    string
	client kubernetes.Interface

	mutex sync.Mutex
	// containers holds the container of each Pod, by the namespace and the name of the Pod.
	containers map[string]*container
}

func init() {
	parts["kubelet"] = func() int {
		if err := runKubelet(); err != nil {
			fmt.Fprintf(os.Stderr, "control-plane kubelet: %v\n", err)
			return 1
		}
		return 0
	}
}

// runKubelet adds a node to the control plane of a folder. It ends when standard input ends.
func runKubelet() error {
	dir := flag.String("dir", "", "the folder of a running control plane")
	if err := flag.CommandLine.Parse(arguments()); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(*dir, "admin.kubeconfig"))
	if err != nil {
		return err
	}
	// Many tests start Pods at the same time.
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	k := &kubelet{dir: *dir, client: client, containers: map[string]*container{}}
	listener, err := k.listen()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := k.register(ctx, listener.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	go k.watchPods(ctx)
	go func() { _ = http.Serve(listener, k.handler()) }()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"node": nodeName}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// listen accepts only clients with a certificate of this control plane: its API servers and its administrator.
func (k *kubelet) listen() (net.Listener, error) {
	file := func(name string) string { return filepath.Join(k.dir, name) }
	certificate, err := tls.LoadX509KeyPair(file("kubelet.crt"), file("kubelet.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(file("ca.crt"))
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(ca)
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
	})
}

func (k *kubelet) register(ctx context.Context, port int) error {
	nodes := k.client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &core.Node{ObjectMeta: meta.ObjectMeta{Name: nodeName}}, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = nodes.Get(ctx, nodeName, meta.GetOptions{})
	}
	if err != nil {
		return err
	}
	node.Status.Addresses = []core.NodeAddress{{Type: core.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	node.Status.Conditions = []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue}}
	_, err = nodes.UpdateStatus(ctx, node, meta.UpdateOptions{})
	return err
}

// watchPods starts and ends the Pods of the node.
func (k *kubelet) watchPods(ctx context.Context) {
	for ; ; time.Sleep(100 * time.Millisecond) {
		// Without a resource version, the watch begins with the existing Pods.
		watch, err := k.client.CoreV1().Pods("").Watch(ctx, meta.ListOptions{FieldSelector: "spec.nodeName=" + nodeName})
		if err != nil {
			continue
		}
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*core.Pod); ok {
				k.sync(ctx, pod)
			}
		}
	}
}

func (k *kubelet) sync(ctx context.Context, pod *core.Pod) {
	key := pod.Namespace + "/" + pod.Name
	pods := k.client.CoreV1().Pods(pod.Namespace)
	k.mutex.Lock()
	c := k.containers[key]
	k.mutex.Unlock()
	switch {
	case pod.DeletionTimestamp != nil:
		if c != nil {
			_ = c.process.Process.Kill()
		}
		now := int64(0)
		_ = pods.Delete(ctx, pod.Name, meta.DeleteOptions{GracePeriodSeconds: &now})
		c = nil
	case c == nil:
		var err error
		if len(pod.Spec.Containers) != 1 {
			err = errors.New("this kubelet runs Pods with one container")
		} else {
			c, err = startContainer(filepath.Join(k.dir, "pods", key), pod.Spec.Containers[0])
		}
		pod.Status.Phase = core.PodRunning
		if err != nil {
			pod.Status.Phase, pod.Status.Message = core.PodFailed, err.Error()
		} else {
			pod.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}}
		}
		defer func() { _, _ = pods.UpdateStatus(ctx, pod, meta.UpdateOptions{}) }()
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.containers[key] = c; c == nil {
		delete(k.containers, key)
	}
}

// handler serves the paths of the kubelet's API that kube-apiserver uses. It answers all others with 404.
func (k *kubelet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveStreams)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.serveStreams)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	return mux
}

// container returns the container of a request. If the Pod does not run here, it answers the request with
// 404.
func (k *kubelet) container(w http.ResponseWriter, r *http.Request) *container {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	c := k.containers[r.PathValue("namespace")+"/"+r.PathValue("pod")]
	if c == nil {
		http.Error(w, "this Pod does not run here", http.StatusNotFound)
	}
	return c
}

func (k *kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	follow := query.Get("follow") == "true"
	if query.Del("follow"); len(query) > 0 {
		http.Error(w, "this kubelet serves whole logs: use no option but `follow`", http.StatusNotImplemented)
		return
	}
	if c := k.container(w, r); c != nil {
		c.copyLog(w, 0, follow, r.Context().Done())
	}
}

// serveStreams serves exec if the request has a command, and attach otherwise.
func (k *kubelet) serveStreams(w http.ResponseWriter, r *http.Request) {
	c := k.container(w, r)
	if c == nil {
		return
	}
	options, err := newOptions(r)
	if err == nil && options.TTY {
		err = errors.New("this kubelet has no terminals: leave out `--tty`")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if words := r.URL.Query()["command"]; len(words) > 0 {
		serveExec(w, r, streams{c}, "", "", "", words, options, idle, streamCreationTimeout, commandProtocols)
	} else {
		serveAttach(w, r, streams{c}, "", "", "", options, idle, streamCreationTimeout, commandProtocols)
	}
}

func (k *kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	c := k.container(w, r)
	if c == nil {
		return
	}
	options, err := newV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	servePortForward(w, r, streams{c}, "", "", options, idle, streamCreationTimeout, portForwardProtocols)
}

// streams connects a container with the streams of a client.
type streams struct{ *container }

func (s streams) ExecInContainer(_ context.Context, _ string, _ podUID, _ string, words []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan terminalSize, _ time.Duration) error {
	return s.exec(words, in, out, errs)
}

func (s streams) AttachContainer(_ context.Context, _ string, _ podUID, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan terminalSize) error {
	return s.attach(in, out)
}

// PortForward connects to a port of this machine, because a Pod has no network of its own.
func (s streams) PortForward(ctx context.Context, _ string, _ podUID, port int32, stream io.ReadWriteCloser) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
