package redistest_test

import (
	"testing"

	"sluice/internal/redistest"
)

func TestSentinelReplacesItsMaster(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	old := s.Master()
	if old != s.Servers[0] {
		t.Errorf("the master is %s", old.Addr)
	}
	old.Kill()
	if now := s.Await(old); now != s.Servers[1] {
		t.Errorf("the master is %s", now.Addr)
	}
}

func TestClusterReplacesAMaster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	old := c.MasterOf("k")
	old.Kill()
	now := old
	for now == old {
		now = c.MasterOf("k")
	}
	old.Restart()
	c.AwaitWhole()
	if again := c.MasterOf("k"); again != now {
		t.Errorf("%s, want %s", again.Addr, now.Addr)
	}
}
