package rig

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from a child, so that we stop the children in order, and
// ends a child when we are killed.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
