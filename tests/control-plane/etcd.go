//go:build !older

package main

import "go.etcd.io/etcd/server/v3/etcdmain"

// The tag `older` leaves this file out. A build with an older Kubernetes uses the etcd of the newest build (`--etcd`).
func init() {
	parts["etcd"] = func() int {
		etcdmain.Main(append([]string{"etcd"}, arguments()...))
		return 0
	}
}
