package main

import "os"

// parts are what this program can be when its first argument says so. Each file that links one adds it.
var parts = map[string]func() int{}

// arguments are those of the part.
func arguments() []string {
	return os.Args[1:]
}
