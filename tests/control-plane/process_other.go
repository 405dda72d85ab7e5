//go:build !linux

package main

import "syscall"

func endWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
