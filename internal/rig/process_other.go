//go:build !linux

package rig

import "os/exec"

// apart does nothing here: a child gets the terminal's Ctrl-C too, and outlives a kill of ours.
func apart(*exec.Cmd) {}
