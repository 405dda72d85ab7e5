package main

import "syscall"

// endWithUs has the kernel kill a part when the program that started it dies.
func endWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
