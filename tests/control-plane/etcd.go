//go:build !older

package main

import "go.etcd.io/etcd/server/v3/etcdmain"

// The tag `older` leaves this file out: the etcd that an older Kubernetes requires has other fields. A newer etcd serves the older
// Kubernetes as well.
func init() {
	parts["etcd"] = func() int {
		etcdmain.Main(append([]string{"etcd"}, arguments()...))
		return 0
	}
}
