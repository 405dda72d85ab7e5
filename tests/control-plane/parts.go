package main

import "os"

// parts holds the parts that this program contains, by the first argument that selects them. Each file that links a part adds it.
var parts = map[string]func() int{}

// arguments returns the arguments for the part.
func arguments() []string {
	return os.Args[1:]
}
