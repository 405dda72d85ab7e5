//go:build !older

package main

import (
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// The names of the kubelet's streaming code. An older Kubernetes has this code in other modules.
type (
	podUID       = string
	terminalSize = remotecommand.TerminalSize
)

var (
	newOptions            = remotecommand.NewOptions
	serveExec             = remotecommand.ServeExec
	serveAttach           = remotecommand.ServeAttach
	commandProtocols      = remotecommand.SupportedStreamingProtocols
	streamCreationTimeout = remotecommand.DefaultStreamCreationTimeout
	newV4Options          = portforward.NewV4Options
	servePortForward      = portforward.ServePortForward
	portForwardProtocols  = portforward.SupportedProtocols
)
