package relay

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// workerEnv makes the test binary a worker that relays, with the Redis at this address.
const workerEnv = "SLUICE_TEST_RELAY_WORKER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(workerEnv); addr != "" {
		relayForever(addr)
	}
	os.Exit(m.Run())
}

// killTimeout is the timeout of the requests of the workers. The leases follow from it.
const killTimeout = time.Second

func relayForever(addr string) {
	w := newWorldAt(redis.NewClient(&redis.Options{Addr: addr}))
	tail := events.NewTail(w.stream)
	go tail.Run(context.Background())
	New(w.db, w.options("worker-"+strconv.Itoa(os.Getpid()), killTimeout, tail)).Run(context.Background())
}

// TestKilledWorkers kills the relaying process at random moments while events come and the target fails at random. Every
// event arrives, the events of each message in order, and the last steps of at most what was under way come again.
// SLUICE_TEST_RELAY_KILLS is how often; without it a few times.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("SLUICE_TEST_RELAY_KILLS")); err == nil {
		kills = n
	}
	server := redistest.Start(t)
	w := newWorld(t, server.Client())
	rnd := rand.New(rand.NewPCG(uint64(kills), 7))
	var mu sync.Mutex
	took := newTaken()
	refusals := 0
	hook := newReceiver(t, nil)
	hook.answer = func(_ int, rw http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		p, d := rnd.Float64(), rnd.IntN(20)
		mu.Unlock()
		time.Sleep(time.Duration(d) * time.Millisecond)
		if p < 0.02 {
			mu.Lock()
			refusals++
			mu.Unlock()
			rw.WriteHeader(500)
			return false
		}
		return true
	}
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelaySluice}, "")

	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+server.Addr)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	workers := []*exec.Cmd{start(), start()}
	defer func() {
		for _, cmd := range workers {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	written := 0
	writer.Go(func() {
		for ; ctx.Err() == nil; written++ {
			m, step := written/30*10+written%10, written%30/10
			e := message.Event{Type: message.EventStatus, At: 1, Number: testNumber, Report: &message.StatusReport{Number: testNumber, WAMID: "wamid." + strconv.Itoa(m), Status: strconv.Itoa(step)}}
			if err := w.stream.Append(t.Context(), []message.Event{e}); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(4 * time.Millisecond)
		}
	})
	owner := func() int {
		name := w.owner(t, testShards.Of(testNumber))
		for i, cmd := range workers {
			if name == "worker-"+strconv.Itoa(cmd.Process.Pid) {
				return i
			}
		}
		return -1
	}
	pauses := rand.New(rand.NewPCG(uint64(kills), 8)) // rnd belongs to the receiver
	for range kills {
		before := len(hook.got())
		poll.Until(t, "a worker relays", func() bool { return owner() >= 0 && len(hook.got()) > before+20 })
		time.Sleep(time.Duration(pauses.IntN(300)) * time.Millisecond)
		if i := owner(); i >= 0 {
			workers[i].Process.Kill()
			workers[i].Wait()
			workers[i] = start()
		}
	}
	stop()
	writer.Wait()
	different := func() int {
		all := newTaken()
		for _, body := range hook.got() {
			all.take([]byte(body))
		}
		took = all
		n := 0
		for _, steps := range all.steps {
			n += steps
		}
		return n
	}
	poll.Until(t, "all events arrive", func() bool { return different() >= written })
	took.check(t, written)
	if most := kills * 300; took.twice > most {
		t.Errorf("%d events came again after %d kills", took.twice, kills)
	}
	t.Logf("%d kills, %d events, %d refused, %d came again", kills, written, refusals, took.twice)
}
