//go:build !linux

package rig

import "os/exec"

// apart does nothing here: a child gets the terminal's Ctrl-C too, and goes on when this process is killed.
func apart(*exec.Cmd) {}
