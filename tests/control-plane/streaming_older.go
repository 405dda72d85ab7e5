//go:build older

package main

import (
	"k8s.io/apimachinery/pkg/types"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	server "k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

type (
	podUID       = types.UID
	terminalSize = remotecommand.TerminalSize
)

var (
	newOptions            = server.NewOptions
	serveExec             = server.ServeExec
	serveAttach           = server.ServeAttach
	commandProtocols      = remotecommandconsts.SupportedStreamingProtocols
	streamCreationTimeout = remotecommandconsts.DefaultStreamCreationTimeout
	newV4Options          = portforward.NewV4Options
	servePortForward      = portforward.ServePortForward
	portForwardProtocols  = portforward.SupportedProtocols
)
