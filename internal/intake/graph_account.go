package intake

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// askAgain is how long Meta is not asked again for the account of a number that it did not say.
	askAgain = 5 * time.Minute
	// maxLookups is the number of numbers whose accounts are asked for in one request.
	maxLookups = 32
)

// covered returns the configured numbers that a key covers.
func (in *Intake) covered(key httpapi.Key) []string {
	if key.CoversAll() {
		return in.o.All
	}
	return slices.DeleteFunc(slices.Clone(key.Numbers), func(n string) bool { return !in.o.Numbers(n) })
}

// accountNumber returns a number of an account that the key covers: its token is used for a call of the account. If whole is
// true, the key must cover all its configured numbers, because the call concerns them all.
func (in *Intake) accountNumber(r *http.Request, key httpapi.Key, id string, whole bool) (number string, refused refusal) {
	if !message.IsNumberID(id) || in.o.Graph == nil || in.o.Accounts == nil {
		return "", graphRefusal("account_not_found")
	}
	of, refused := in.accountsOf(r.Context())
	if refused != nil {
		return "", refused
	}
	others := false
	for _, n := range in.o.All {
		switch {
		case of[n] != id:
		case !key.Covers(n):
			others = true
		case number == "":
			number = n
		}
	}
	switch {
	case number == "":
		return "", graphRefusal("account_not_found")
	case whole && others:
		return "", graphRefusal("account_not_covered")
	}
	return number, nil
}

// checkFields refuses a GET of an account whose fields are edges that the key may not read.
func (in *Intake) checkFields(r *http.Request, key httpapi.Key, id string) (refused refusal) {
	fields := strings.Join(r.URL.Query()["fields"], ",")
	for _, name := range strings.FieldsFunc(fields, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		e, known := graphEdges[name]
		switch {
		case refused != nil:
		case known && e.of == ofAccount && e.read == "":
			refused = graphRefusal("path_not_forwarded")
		case slices.Contains(ofAllNumbers, name):
			_, refused = in.accountNumber(r, key, id, true)
		}
	}
	return refused
}

// accountsOf returns the accounts of the configured numbers. It asks Meta once for those that are not known, and stores
// them.
func (in *Intake) accountsOf(ctx context.Context) (map[string]string, refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	of, err := in.o.Accounts.All(ctx)
	if err != nil {
		in.o.Log.Error("cannot read the accounts of numbers", "err", err)
		return nil, refuse("store_unavailable")
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range in.lookups.due(in.o.All, of) {
		all.Go(func() {
			found, err := in.o.Graph.Account(ctx, n)
			if err != nil || found == "" {
				in.o.Log.Warn("cannot read the WhatsApp Business Account of a number from Meta", "phone_number_id", n, "err", err)
				return
			}
			if err := in.o.Accounts.Note(ctx, n, found); err != nil {
				in.o.Log.Warn("cannot store the WhatsApp Business Account of a number", "phone_number_id", n, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			of[n] = found
		})
	}
	all.Wait()
	return of, nil
}

// lookups remembers when Meta was asked for the account of a number.
type lookups struct {
	mu    sync.Mutex
	asked map[string]time.Time
}

// due returns the numbers without a known account for which Meta was not asked lately, up to maxLookups, and notes that
// it is asked now.
func (l *lookups) due(numbers []string, of map[string]string) (due []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, n := range numbers {
		if of[n] != "" || now.Sub(l.asked[n]) < askAgain || len(due) == maxLookups {
			continue
		}
		if l.asked == nil {
			l.asked = map[string]time.Time{}
		}
		l.asked[n] = now
		due = append(due, n)
	}
	return due
}

// ownerOf returns a number of the account that a flow or a template belongs to, if the key covers the account. found is
// false if it is neither of an account of the key.
func (in *Intake) ownerOf(r *http.Request, key httpapi.Key, id string, write bool) (number string, found bool, refused refusal) {
	if !message.IsNumberID(id) || in.o.Graph == nil || in.o.Accounts == nil || in.o.Numbers(id) {
		return "", false, nil
	}
	if known := in.objects.of(id); known != "" {
		if number, refused = in.accountNumber(r, key, known, write); refused == nil {
			return number, true, nil
		}
	}
	of, refused := in.accountsOf(r.Context())
	if refused != nil {
		return "", false, refused
	}
	r, cancel := within(r, passTime)
	defer cancel()
	asked := map[string]bool{}
	for _, n := range in.covered(key) {
		account := of[n]
		if account == "" || asked[account] || len(asked) == maxAsked {
			continue
		}
		asked[account] = true
		belongs, err := in.o.Graph.Belongs(r.Context(), n, account, id)
		if err != nil {
			in.o.Log.Warn("cannot read the account of an object from Meta", "phone_number_id", n, "err", err)
			return "", false, graphRefusal("meta_unavailable")
		}
		if belongs {
			in.objects.add(id, account)
			number, refused = in.accountNumber(r, key, account, write)
			return number, refused == nil, refused
		}
	}
	return "", false, nil
}
