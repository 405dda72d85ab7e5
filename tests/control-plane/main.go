// Command control-plane starts Kubernetes itself on loopback, for tests: etcd, kube-apiserver and kube-controller-manager.
// `control-plane kubelet` adds a node (kubelet.go).
//
//	control-plane --dir DIR
//
// It writes DIR/admin.kubeconfig, and prints one line of JSON when every part is ready. It writes nothing outside of DIR. It ends when
// its standard input ends: the program that started it holds the other end, so no control plane outlives its test.
//
// Each part is a process of its own, because the commands of kube-apiserver and kube-controller-manager set flags and feature gates
// of the whole process. The program calls itself with the part's name as its first argument.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// options holds the options of a control plane, from the command line.
type options struct {
	dir                   string
	authenticationConfigs []string
	longestTokens         []string
	apiServers            int
	etcd                  string
	assets                string
	version               bool
}

// ready is the line that the program prints when the control plane is ready. It says how to reach the control plane.
type ready struct {
	Version string `json:"version"`
	// The administrator's kubeconfigs, one for each API server.
	Kubeconfigs []string `json:"kubeconfigs"`
	// The key with which the API servers sign the tokens of ServiceAccounts.
	SigningKey string `json:"signing-key"`
	// The audit log of all API servers, with one event on each line.
	AuditLog string `json:"audit-log"`
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := parts[os.Args[1]]; ok {
			os.Args = append([]string{os.Args[1]}, os.Args[2:]...)
			os.Exit(run())
		}
	}
	o := parse()
	if o.version {
		os.Exit(printVersion(o))
	}
	if err := start(o); err != nil {
		fmt.Fprintf(os.Stderr, "control-plane: %v\n", err)
		os.Exit(1)
	}
}

func printVersion(o options) int {
	plane := &plane{options: o}
	cmd, err := plane.part("kube-apiserver", []string{"--version"})
	if err == nil {
		cmd.Stdout = os.Stdout
		err = cmd.Run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "control-plane: %v\n", err)
		return 1
	}
	return 0
}

func parse() options {
	var o options
	flag.StringVar(&o.dir, "dir", "", "the folder for certificates, data and logs; created if it does not exist")
	flag.Func("authentication-config", "an AuthenticationConfiguration for kube-apiserver, which reads it again when it changes; once for each API server, in their order", func(path string) error {
		o.authenticationConfigs = append(o.authenticationConfigs, path)
		return nil
	})
	flag.Func("longest-token", "the longest lifetime of a token, an hour or more; once for each API server, in their order", func(lifetime string) error {
		o.longestTokens = append(o.longestTokens, lifetime)
		return nil
	})
	flag.IntVar(&o.apiServers, "api-servers", 1, "the number of kube-apiservers, which share one etcd")
	flag.StringVar(&o.etcd, "etcd", "", "the program control-plane of a newer Kubernetes, whose etcd this program uses if it is built without etcd")
	flag.StringVar(&o.assets, "assets", os.Getenv("KUBEBUILDER_ASSETS"), "a folder of programs to start in place of the parts in this program: etcd, kube-apiserver, kube-controller-manager; envtest's folder has the first two")
	flag.BoolVar(&o.version, "version", false, "print the version of kube-apiserver, as it does itself, and end")
	flag.Parse()
	return o
}

// start runs a control plane until standard input ends or a signal arrives.
func start(o options) error {
	// The kernel kills the parts when the thread that started them ends, so this goroutine must keep its thread.
	runtime.LockOSThread()
	if o.dir == "" {
		return errors.New("flag --dir is missing: give the folder for certificates, data and logs, `--dir DIR`")
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	o.dir = dir
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		// A read error also means that standard input has ended.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	plane := &plane{options: o}
	defer plane.kill()
	line, err := plane.start(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-plane.ended():
		return err
	}
}
