package rig

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from a child, so that the rig stops its children in order. The child ends
// when this process is killed.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
