//go:build !linux

package rig

import (
	"errors"
	"os/exec"
	"time"
)

// apart does nothing here: a child gets the terminal's Ctrl-C too, and goes on when this process is killed.
func apart(*exec.Cmd) {}

// processorTime fails: only Linux is supported.
func processorTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
