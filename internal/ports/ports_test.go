package ports_test

import (
	"net"
	"testing"

	"sluice/internal/ports"
)

func TestFree(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 400 {
		addr, err := ports.Free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
		if hold, err := net.ListenPacket("udp", addr); err == nil {
			hold.Close()
			t.Fatalf("another process could get %s too", addr)
		}
	}
	for addr := range seen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("a program cannot listen there: %v", err)
			continue
		}
		l.Close()
	}
}
