//go:build !older

package main

import "go.etcd.io/etcd/server/v3/etcdmain"

// Not with the tag `older`: the etcd that an older Kubernetes names has other fields, and a newer one serves it as well.
func init() {
	parts["etcd"] = func() int {
		etcdmain.Main(append([]string{"etcd"}, arguments()...))
		return 0
	}
}
