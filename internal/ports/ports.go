// Package ports chooses TCP ports for programs that this process starts on this machine.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that systems give to outgoing connections: such a connection could else
// take the port of a program that is just being started again.
const low, high = 18_000, 32_000

// kept is how many ports of one process no other process gets. Older ones are in use, or no longer needed.
const kept = 500

var (
	mu   sync.Mutex
	held []net.PacketConn
)

// Free returns a loopback address where nothing listens. No other process that asks Free gets the same one,
// before or after the program listens there: the UDP port of the same number is bound meanwhile.
func Free() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	var err error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low)))
		var hold net.PacketConn
		if hold, err = net.ListenPacket("udp", addr); err != nil {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err != nil {
			hold.Close()
			continue
		}
		l.Close()
		if held = append(held, hold); len(held) > kept {
			held[0].Close()
			held = held[1:]
		}
		return addr, nil
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
