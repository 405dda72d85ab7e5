package main

import (
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func init() {
	parts["kube-apiserver"] = func() int { return cli.Run(apiserver.NewAPIServerCommand()) }
	parts["kube-controller-manager"] = func() int { return cli.Run(controllers.NewControllerManagerCommand()) }
}
