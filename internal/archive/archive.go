// Package archive writes the events about messages to a PostgreSQL: who sent what kind of message from which number, what
// became of it, and what Meta charges for it. It never writes the content of a message, and recipients as keyed hashes only.
//
// An Archive is a consumer group of the event streams. It acknowledges an entry when its rows are committed, and the name of an
// event is the primary key of its row. So no event is missing, and none is there twice.
package archive

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/postgres"
	"sluice/internal/retry"
	"sluice/internal/store"
)

// Group is the consumer group of the event streams.
const Group = "archive"

// RecipientPurpose is the purpose of the keyed hashes of recipients, in records and in the archive.
const RecipientPurpose = "recipient index"

// Options are what an Archive works with. All are required.
type Options struct {
	URL       string                     // of the database
	Worker    string                     // the name of this worker, which no other has
	Shards    message.Shards             // of the installation
	Retention time.Duration              // how long rows are kept
	Hash      func(text string) string   // makes keyed hashes of 8 bytes
	Message   func(marker string) string // returns Sluice's id of the message that a marker names; empty: it names none
	// Recipients returns the hashes of the recipients of messages of a shard, and the recipients where they are still known.
	Recipients func(ctx context.Context, shard message.Shard, ids []string) (map[string]Recipient, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Recipient is the recipient of a message in its record.
type Recipient struct {
	Hash string // 8 bytes; empty: unknown
	Text string // the phone number or the user id; empty: the record does not have it any more
}

// pauses are the pauses after failures in a row, and maxIdle is the pause when the streams have nothing to read.
var pauses = retry.Pauses{First: 200 * time.Millisecond, Max: 15 * time.Second, Jitter: 0.2}

const (
	maxIdle = 500 * time.Millisecond
	// callTimeout is the time limit of a step.
	callTimeout = 30 * time.Second
	// deadAfter is how long a worker may leave an entry without an acknowledgement before another worker reclaims it. It is longer
	// than a step.
	deadAfter = 2 * callTimeout
	// tidyEvery is how often partitions are made and dropped.
	tidyEvery = time.Hour
	// claimEvery is how often the entries of dead workers are reclaimed.
	claimEvery = 30 * time.Second
)

// Archive writes events to a database. Any number of workers can run one: they share the entries.
type Archive struct {
	db      *store.DB
	o       Options
	config  *pgx.ConnConfig
	group   *events.Group
	metrics *metrics

	conn   *pgx.Conn           // nil: not connected
	days   map[string]bool     // partitions that exist
	held   []events.GroupEntry // entries that are read and not acknowledged
	tidied time.Time

	claimed    time.Time     // when entries of dead workers were looked for
	claimEvery time.Duration // how often they are
}

// New returns an Archive. It does not connect. Its error does not quote the URL, which can have a password.
func New(db *store.DB, o Options) (*Archive, error) {
	config, err := postgres.Parse("archive", o.URL)
	if err != nil {
		return nil, err
	}
	return &Archive{db: db, o: o, config: config, group: newGroup(db, o, deadAfter), metrics: newMetrics(o.Registerer), claimEvery: claimEvery}, nil
}

// newGroup returns the consumer group of the archive in all event streams.
func newGroup(db *store.DB, o Options, deadAfter time.Duration) *events.Group {
	return events.NewGroup(db, events.GroupOptions{Name: Group, Consumer: o.Worker, Shards: o.Shards, DeadAfter: deadAfter})
}

// Run archives events until ctx ends. It blocks, logs and repeats what fails, and returns nil. What it has read and not
// written then is reclaimed by another worker, or by the next one.
func (a *Archive) Run(ctx context.Context) error {
	defer func() {
		postgres.Close(a.conn)
		if len(a.held) == 0 {
			a.group.Leave()
		}
	}()
	failures := 0
	for {
		n, err := a.step(ctx)
		pause := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			pause = pauses.After(failures)
			a.o.Log.Error("cannot archive events", "retry_seconds", pause.Seconds(), "err", err)
		default:
			if failures > 0 {
				a.o.Log.Info("events are archived again")
			}
			if failures = 0; n == 0 {
				pause = maxIdle
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// step archives the next entries, and returns their number.
func (a *Archive) step(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout) // a stop does not interrupt a step
	defer cancel()
	if err := a.prepare(ctx); err != nil {
		a.days = nil // a partition may have been dropped
		return 0, a.failed(causeDatabase, explain(err))
	}
	if len(a.held) == 0 {
		if err := a.read(ctx); err != nil {
			return 0, a.failed(causeStorage, err)
		}
	}
	rows, err := a.rows(ctx, a.held)
	if err != nil {
		return 0, a.failed(causeStorage, err)
	}
	added, err := a.write(ctx, rows)
	if err != nil {
		a.days = nil
		return 0, a.failed(causeDatabase, explain(err))
	}
	if err := a.group.Acknowledge(ctx, a.held); err != nil {
		return 0, a.failed(causeStorage, err)
	}
	a.metrics.up.Set(1)
	a.gaps(rows.gaps)
	a.metrics.rows[resultUnreadable].Add(float64(rows.unreadable))
	a.metrics.rows[resultAdded].Add(float64(added))
	a.metrics.rows[resultRepeated].Add(float64(rows.len() - added))
	n := len(a.held)
	a.held = nil
	return n, nil
}

// read reads the next entries, and from time to time those of dead workers.
func (a *Archive) read(ctx context.Context) (err error) {
	if time.Since(a.claimed) > a.claimEvery {
		found, lost, err := a.group.Claim(ctx)
		if err != nil {
			return err
		}
		a.gaps(lost)
		if a.held = found; len(found) > 0 { // there may be more
			return nil
		}
		a.claimed = time.Now()
	}
	a.held, err = a.group.Read(ctx)
	return err
}

// gaps notes that Redis dropped entries before they were archived.
func (a *Archive) gaps(n int) {
	if n > 0 {
		a.metrics.gaps.Add(float64(n))
		a.o.Log.Error("events were dropped before they were archived", "gaps", n)
	}
}

// failed counts a failure, and ends the connection if the database failed.
func (a *Archive) failed(cause string, err error) error {
	a.metrics.failures[cause].Inc()
	if cause == causeDatabase {
		a.metrics.up.Set(0)
		postgres.Close(a.conn)
		a.conn = nil
	}
	return err
}

// rows returns the rows of entries.
func (a *Archive) rows(ctx context.Context, entries []events.GroupEntry) (*rows, error) {
	all := &rows{}
	accepted := map[message.Shard][]string{}
	for _, e := range entries {
		decoded, err := events.Decode(e.XMessage)
		if err != nil {
			all.unreadable++
			a.o.Log.Error("cannot read event to archive", "stream", e.Stream, "entry", e.ID, "err", err)
		}
		for line, ev := range decoded {
			switch {
			case ev.Gap != nil && ev.Gap.Group == Group:
				all.gaps++
			case ev.Message != nil && (ev.State != nil || ev.Final != nil):
				if isAcceptance(ev) {
					accepted[e.Shard] = append(accepted[e.Shard], ev.Message.ID)
				}
				all.message(e, line, ev)
			case ev.Report != nil:
				p := cloudapi.PricedOf(ev.Meta)
				all.status(e, line, ev, a.o.Message(ev.Report.Marker), p, HashRecipient(a.o.Hash, p.Recipient), a.o.Hash(ev.Report.WAMID))
			}
		}
	}
	for shard, ids := range accepted {
		known, err := a.o.Recipients(ctx, shard, ids)
		if err != nil {
			return nil, err
		}
		all.recipients(known)
	}
	return all, nil
}
