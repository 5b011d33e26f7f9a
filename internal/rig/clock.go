package rig

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ErrNoClock means that the clock of a process cannot be set on this machine.
var ErrNoClock = errors.New("the clock of a process can be set on linux/amd64 only")

// SetClock sets the wall clock of a running process ahead by d, or back, in whole seconds. Its
// monotonic clock goes on as before. The kernel maps the code that reads clocks (the vDSO)
// into every process. SetClock overwrites its functions with functions that call the kernel and add d.
func SetClock(pid int, d time.Duration) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return ErrNoClock
	}
	from, to, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("set a clock: %w", err)
	}
	defer mem.Close()
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, from); err != nil {
		return fmt.Errorf("set a clock: %w", err)
	}
	lib, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("set a clock: %w", err)
	}
	symbols, err := lib.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("set a clock: %w", err)
	}
	set := 0
	for _, s := range symbols {
		code := map[string][]byte{
			"__vdso_clock_gettime": clockGettime(d), "__vdso_gettimeofday": getTimeOfDay(d), "__vdso_time": getTime(d),
		}[s.Name]
		if code == nil {
			continue
		}
		if _, err := mem.WriteAt(code, from+int64(s.Value)); err != nil {
			return fmt.Errorf("set a clock: %w", err)
		}
		set++
	}
	if set < 3 {
		return errors.New("set a clock: the vDSO lacks clock_gettime, gettimeofday or time")
	}
	return nil
}

// getTimeOfDay is gettimeofday(timeval, NULL) for linux/amd64, with d added. Redis calls it.
func getTimeOfDay(d time.Duration) []byte {
	code := []byte{
		0xb8, 0x60, 0x00, 0x00, 0x00, // mov eax, SYS_gettimeofday
		0x0f, 0x05, // syscall
		0x48, 0x81, 0x07, // add qword [rdi], imm32
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(d/time.Second)))
	return append(code, 0x31, 0xc0, 0xc3) // xor eax, eax; ret
}

// getTime is time(seconds or NULL) for linux/amd64, with d added.
func getTime(d time.Duration) []byte {
	code := []byte{
		0xb8, 0xc9, 0x00, 0x00, 0x00, // mov eax, SYS_time
		0x0f, 0x05, // syscall
		0x48, 0x05, // add rax, imm32
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(d/time.Second)))
	return append(code,
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 0x03, // je over the next
		0x48, 0x89, 0x07, // mov [rdi], rax
		0xc3, // ret
	)
}

// clockGettime is clock_gettime(clock, timespec) for linux/amd64, with d added to
// CLOCK_REALTIME.
func clockGettime(d time.Duration) []byte {
	code := []byte{
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x07, // jne over the next
		0x48, 0x81, 0x06, // add qword [rsi], imm32
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(d/time.Second)))
	return append(code, 0xc3) // ret
}

// vdso returns the addresses of the vDSO in a process.
func vdso(pid int) (from, to int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("set a clock: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		low, rest, _ := strings.Cut(line, "-")
		high, _, _ := strings.Cut(rest, " ")
		from, err1 := strconv.ParseInt(low, 16, 64)
		to, err2 := strconv.ParseInt(high, 16, 64)
		return from, to, errors.Join(err1, err2)
	}
	return 0, 0, errors.New("set a clock: the process has no vDSO")
}
