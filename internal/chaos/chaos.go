// Package chaos is the fault matrix of docs/reliability.md. Each row breaks something while real programs, as
// processes of their own, send through a real Redis to the simulator. Then it compares what the simulator
// received, what the API answered and what the records contain: nothing may be lost, and nothing knowingly sent
// twice.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say which rows run, and how.
type Options struct {
	Seed    uint64        // of all random choices: when faults come and what the simulator does
	Only    []string      // ids of rows; empty: all
	CI      bool          // a part of the rows, chosen by the seed, with fewer messages, in five minutes at most
	Long    time.Duration // all rows repeatedly, each time with another seed, until this time has passed; 0: once
	Lanes   int           // rows that run at the same time; 0: 2
	Scale   float64       // share of each row's messages; 0: 1
	Keep    string        // the folder for the histories of broken rows; it is made when needed
	Program string        // the executable that has rig.Run behind rig.Command; required
	Log     io.Writer     // gets what the rows do; nil: nothing is logged

	// Previous is the executable of an earlier version, for the rows that run both versions. Without it these rows are left out.
	Previous string
}

// Run runs rows of the matrix and calls show with the result of each row when it ends. Its error has the rows that
// could not run. The broken invariants are in the results.
func Run(ctx context.Context, o Options, show func(Result)) ([]Result, error) {
	rows, err := o.rows()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Lanes == 0 {
		o.Lanes = 2
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	var all []Result
	for began, seed := time.Now(), o.Seed; ; seed++ {
		results, err := o.once(ctx, rows, seed, show)
		all = append(all, results...)
		if err != nil || time.Since(began) >= o.Long {
			return all, err
		}
	}
}

// once runs rows in parallel lanes, and returns their results in the order of the rows.
func (o Options) once(ctx context.Context, rows []row, seed uint64, show func(Result)) ([]Result, error) {
	results := make([]Result, len(rows))
	next := make(chan int)
	var mu sync.Mutex
	var errs []error
	var lanes sync.WaitGroup
	for range o.Lanes {
		lanes.Go(func() {
			for i := range next {
				result, err := play(ctx, o, rows[i], seed)
				mu.Lock()
				results[i] = result
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", rows[i].id, err))
				}
				show(result)
				mu.Unlock()
			}
		})
	}
	for i := range rows {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	lanes.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return results, errors.Join(errs...)
}

// ciBudget is how long the rows of a CI run may take one after the other, on two idle cores. Two lanes take little
// more than half of it.
const ciBudget = 4 * time.Minute

// rows returns the selected rows, in the order of the matrix.
func (o Options) rows() ([]row, error) {
	var some []row
	for _, id := range o.Only {
		i := slices.IndexFunc(matrix, func(r row) bool { return strings.EqualFold(r.id, id) })
		if i < 0 {
			return nil, fmt.Errorf("the matrix has no row %q: there are %s", id, strings.Join(IDs(), ", "))
		}
		if matrix[i].mixed && o.Previous == "" {
			return nil, fmt.Errorf("row %s needs the executable of an earlier version", id)
		}
		some = append(some, matrix[i])
	}
	if len(some) > 0 {
		return some, nil
	}
	for _, r := range matrix {
		if !r.extra && (!r.mixed || o.Previous != "") {
			some = append(some, r)
		}
	}
	if !o.CI {
		return some, nil
	}
	// Rows in the order of the seed, as many as fit.
	chance := rand.New(rand.NewPCG(o.Seed, 0))
	chance.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	left := ciBudget
	some = slices.DeleteFunc(some, func(r row) bool {
		if r.takes > left || r.lacks != "" {
			return true
		}
		left -= r.takes
		return false
	})
	return some, nil
}

// IDs returns the ids of all rows.
func IDs() []string {
	var ids []string
	for _, r := range matrix {
		ids = append(ids, r.id)
	}
	return ids
}
