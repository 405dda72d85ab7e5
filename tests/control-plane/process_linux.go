package main

import "syscall"

// endWithUs makes the kernel kill a part when the program that started it ends.
func endWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
