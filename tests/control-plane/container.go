package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"

	core "k8s.io/api/core/v1"
	utilexec "k8s.io/utils/exec"
)

// container is the one container of a Pod: a process of this machine, and the output of the process so far.
type container struct {
	folder  string
	process *exec.Cmd
	stdin   io.WriteCloser

	mutex sync.Mutex
	log   []byte
	ended bool
	// changed is closed when there is more output, or when the process has ended.
	changed chan struct{}
}

// startContainer runs the command of a container in the folder.
func startContainer(folder string, spec core.Container) (*container, error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("the container has no command, and this kubelet has no images")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	c := &container{folder: folder, changed: make(chan struct{})}
	c.process = c.command(append(spec.Command, spec.Args...))
	c.process.Stdout, c.process.Stderr = c, c
	var err error
	if spec.Stdin {
		if c.stdin, err = c.process.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.process.Wait()
		c.change(func() { c.ended = true })
	}()
	return c, nil
}

func (c *container) command(words []string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = c.folder
	cmd.SysProcAttr = endWithUs()
	return cmd
}

// Write appends output of the process to the log.
func (c *container) Write(output []byte) (int, error) {
	c.change(func() { c.log = append(c.log, output...) })
	return len(output), nil
}

func (c *container) change(change func()) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// copyLog writes the log without its first bytes, whose number is from. With follow, it returns only when the
// process has ended or the reader has gone.
func (c *container) copyLog(out io.Writer, from int, follow bool, gone <-chan struct{}) {
	for {
		c.mutex.Lock()
		more, ended, changed := c.log[from:], c.ended, c.changed
		c.mutex.Unlock()
		if _, err := out.Write(more); err != nil {
			return
		}
		if flusher, ok := out.(http.Flusher); ok {
			flusher.Flush()
		}
		if from += len(more); len(more) > 0 {
			continue
		}
		if ended || !follow {
			return
		}
		select {
		case <-changed:
		case <-gone:
			return
		}
	}
}

// attach gives the process the input of a client, and the client the further output of the process.
func (c *container) attach(in io.Reader, out io.Writer) error {
	c.mutex.Lock()
	from := len(c.log)
	c.mutex.Unlock()
	if in != nil && c.stdin != nil {
		go func() {
			_, _ = io.Copy(c.stdin, in)
			_ = c.stdin.Close()
		}()
	}
	if out == nil {
		out = io.Discard
	}
	c.copyLog(out, from, true, nil)
	return nil
}

// exec runs a command beside the container's process. The error contains the command's exit status.
func (c *container) exec(words []string, in io.Reader, out, errs io.Writer) error {
	cmd := c.command(words)
	cmd.Stdout, cmd.Stderr = out, errs
	if in != nil {
		// With cmd.Stdin, Run would wait for the end of the client's input after the command has ended.
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(stdin, in)
			_ = stdin.Close()
		}()
	}
	err := cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return &utilexec.ExitErrorWrapper{ExitError: status}
	}
	return err
}
