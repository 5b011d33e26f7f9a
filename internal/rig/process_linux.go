package rig

import (
	"os/exec"
	"syscall"
	"time"
	"unsafe"
)

// apart keeps a terminal's Ctrl-C from a child, so that the rig stops its children in order. The child ends
// when this process is killed.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// processorTime reads the clock that counts the processor time of a process, as clock_getcpuclockid(3) names it.
func processorTime(pid int) (time.Duration, error) {
	var used syscall.Timespec
	const ofAllThreads = 2
	clock := ^pid<<3 | ofAllThreads
	if _, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&used)), 0); err != 0 {
		return 0, err
	}
	return time.Duration(used.Nano()), nil
}
